/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Puts an image into the inactive bank and makes it the active one. install_write() may block (it runs
 * on the worker thread); install_flip() is one store and runs on the loop; install_settle() waits until
 * no packet can still read the old bank (worker thread again).
 */
#pragma once

#include "loader.h"

struct install_result {
	unsigned int bank;
	uint32_t lines_changed; /* lines that differed from what the bank held two generations ago;
				 * all of them when the map is new */
	uint32_t lines;
	bool new_map; /* the bank had to grow, or gave much room back: another inner map */
};

/*
 * Writes `count` lines (already patched: counters, generation) into the inactive bank, reads them back
 * and compares. Any failure leaves the active bank untouched and frees what was made; the inactive bank
 * then holds what it held, or no header. lines[0] is the header, with lines = count. Packets must have
 * left the inactive bank: call install_settle() after a flip, and once after a start.
 */
int install_write(struct loader *l, const struct dp_line *lines, uint32_t count,
		  struct install_result *ret, char **ret_why) _must_check_;

/*
 * For new banks that no packet reads yet (l->uncompiled): the image takes the place of the active bank, whose number
 * is that of the banks in force.
 */
int install_active(struct loader *l, const struct dp_line *lines, uint32_t count,
		   char **ret_why) _must_check_;

/* deadline: the tick from which on packets read the other bank again, unless install_confirm() comes before; 0: never. */
void install_flip(struct loader *l, unsigned int bank, uint32_t deadline);

/* The last flip is for good. -ENOENT when nothing waits for that, -ETIME when packets went back, or are about to. */
int install_confirm(struct loader *l) _must_check_;

/* Makes a bank that judges nothing the active one, for a first policy to go back to. Nothing may be attached. */
int install_nothing(struct loader *l, char **ret_why) _must_check_;

/* Waits until no packet reads the bank that was active before the last flip. */
int install_settle(void) _must_check_;
