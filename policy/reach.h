/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What a rule can meet at all: families and protocols as its keys together leave them, and whether a
 * list of addresses and sets holds an address. For warnings, which must be certain: what a set may hold
 * tomorrow is "maybe".
 */
#pragma once

#include "model.h"

enum reach_family {
	REACH_IPV4,
	REACH_IPV6,
	REACH_FAMILY_COUNT,
};

struct reach {
	uint64_t protos[REACH_FAMILY_COUNT][4]; /* bit p % 64 of word p / 64: IANA protocol p */
	bool not_ip;                            /* also packets that are not IP */
};

struct reach reach_of(const struct model *model, const struct model_rule *rule);

/* True when there is a protocol of the family in it. */
bool reach_has_family(const struct reach *reach, enum reach_family family);

/* True when wide has all that narrow has. */
bool reach_covers(const struct reach *wide, const struct reach *narrow);

enum answer {
	ANSWER_NO,
	ANSWER_MAYBE,
	ANSWER_YES,
};

/* Addresses of a family from first to last, host order. */
struct address_range {
	enum reach_family family;
	u128 first, last;
};

struct address_range address_range_all(enum reach_family family);

/*
 * YES: one part of the operand holds all of the range and always will. NO: no part holds any of it, nor
 * ever will. Run-time sets keep what the policy gives them and may get more; a file that is read
 * again may lose everything.
 */
enum answer operand_holds(const struct model *model, const struct model_operand *operand,
			  struct address_range range);

/*
 * True when `of` answers `want`, YES or NO, for every address of the family in operand; false when that
 * is not certain, or takes too long to say.
 */
bool operand_all(const struct model *model, const struct model_operand *operand,
		 enum reach_family family, enum answer want, const struct model_operand *of);

/* True when a set of it may come to hold other addresses. */
bool operand_changes(const struct model *model, const struct model_operand *operand);

/* Fills in the ranges of all parts that do not change, at most `room`; returns how many there are. */
size_t operand_ranges(const struct model *model, const struct model_operand *operand,
		      enum reach_family family, struct address_range *ret, size_t room);

/* From the smallest to the largest address of such ranges, of which there is at least one. */
struct address_range operand_hull(const struct model *model, const struct model_operand *operand,
				  enum reach_family family);
