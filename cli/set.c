/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock set add|del`: members at run time. Not carried out yet, and saying so; `set list` is in sets.c. */
#include "term.h"
#include "verbs.h"

enum status verb_set_change(const struct invocation *call)
{
	term_error("'%s %s': run-time sets are not carried out yet; nothing was changed",
		   call->command->name, call->args[0]);
	return STATUS_FAILED;
}
