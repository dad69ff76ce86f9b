/* SPDX-License-Identifier: Apache-2.0 */
/* `penstock detach`: a device leaves its zone until the next apply that names it. */
#include "attach.h"
#include "verbs.h"

enum status verb_detach(const struct invocation *call)
{
	return attach_ask(call, "/v1/detach", NULL);
}
