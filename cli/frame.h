/* SPDX-License-Identifier: Apache-2.0 */
/* The Ethernet frame of a packet in words: all lengths and checksums right, no payload. */
#pragma once

#include <stddef.h>
#include <stdint.h>

#include "tuple.h"

#define FRAME_MAX 128
#define FRAME_MIN 60 /* on the wire, without FCS */

/* Writes the frame, padded to FRAME_MIN, and returns its length. */
size_t frame_build(const struct tuple *t, uint8_t frame[static FRAME_MAX]);

/*
 * Reads hexadecimal digits, in pairs; spaces and colons between them are skipped. 0, -EINVAL, -E2BIG when
 * room does not suffice.
 */
int frame_from_hex(const char *text, uint8_t *frame, size_t room, size_t *ret_len) _must_check_;
