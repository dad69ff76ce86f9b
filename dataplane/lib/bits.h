/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/*
 * First set bit without a branch: the instruction set has none, and a branchy search inside a loop makes
 * the verifier walk every outcome. De Bruijn multiplication (Leiserson, Prokop, Randall 1998).
 */
#pragma once

#include "maps.h"

#define DP_DE_BRUIJN 0x03f79d71b4cb0a89ull

const __u8 de_bruijn_bit[64] = {
	0,  1,  48, 2,  57, 49, 28, 3,  61, 58, 50, 42, 38, 29, 17, 4,  62, 55, 59, 36, 53, 51,
	43, 22, 45, 39, 33, 30, 24, 18, 12, 5,  63, 47, 56, 27, 60, 41, 37, 16, 54, 35, 52, 21,
	44, 32, 23, 11, 46, 26, 40, 15, 34, 20, 31, 10, 25, 14, 19, 9,  13, 8,  7,  6,
};

/*
 * bits is not 0. The result is hidden: clang 19 knows the table and takes a bound out that the verifier, which does
 * not, needs ("R4 max value is outside of the allowed memory range").
 */
static __always_inline __u32 first_bit(__u64 bits)
{
	__u64 bit = de_bruijn_bit[(bits & -bits) * DP_DE_BRUIJN >> 58];

	asm volatile("" : "+r"(bit));
	return bit;
}

/*
 * 1 or 0, by the sign of a difference. The instruction set has no compare that gives a value, so the compiler
 * makes a branch of one, and the verifier follows both ways through all that comes.
 */
static __always_inline __u32 less32(__u32 a, __u32 b)
{
	__u64 below = (__u64)a - b;

	asm volatile("" : "+r"(below));
	return below >> 63;
}

static __always_inline __u32 is_zero(__u32 x)
{
	return less32(x, 1);
}

/* All ones when x is negative, else 0; hidden, or the compiler knows it for a compare. */
static __always_inline __s64 sign_mask(__s64 x)
{
	asm volatile("" : "+r"(x));
	x >>= 63;
	asm volatile("" : "+r"(x));
	return x;
}

/* x, but at least 0 and at most `most`. */
static __always_inline __u32 clamp(__s64 x, __s64 most)
{
	__s64 over;

	x &= ~sign_mask(x);
	over = most - x;
	return x + (over & sign_mask(over));
}

/* a when mask is all ones, b when it is 0. Not a branch: the verifier would follow both ways through all that comes. */
static __always_inline __u32 pick(__u32 mask, __u32 a, __u32 b)
{
	asm volatile("" : "+r"(mask));
	return b ^ ((a ^ b) & mask);
}

/* All ones when x is 0, else 0; without a branch, see less32(). */
static __always_inline __u64 none(__u64 x)
{
	x |= -x;
	asm volatile("" : "+r"(x));
	return (x >> 63) - 1;
}
