/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A cut is judged by the size of the child that a box finds itself in, by how often it repeats a box, and by
 * its bits. Integers only: floating point logarithms differ from machine to machine.
 */
#include "cuts_choose.h"

#include <string.h>

#include "abi.h"

/* Of a long list some boxes, at regular distances, stand for all: so many, and of very long ones more. */
#define SAMPLE       256u
#define SAMPLE_SHARE 16u
#define SAMPLE_MAX   4096u

/*
 * In units of a 256th of a bit: what a cut must gain, and what each of its bits costs. Repeating each box twice
 * costs half of what halving the list gains: packets come often, memory is there. A list that is too long for
 * a leaf, but not by far, is cut by all that makes it shorter.
 */
#define GAIN_MIN 77u
#define BIT_COST 20u
#define TOO_LONG 1024u

/* Bits that a cut leaves out above it are a price to pay later: networks are numbered from the left. */
#define PLACE_COST 10u

/* Looking for the best number of bits ends when it has become so much worse. */
#define WORSE 64u

#define BITS_MAX 14

/* Fewer than three leave a line of references half empty; only short lists are worth a look at them. */
static const uint8_t bit_counts[] = { 1, 2, 3, 4, 5, 6, 8, 10, 12, BITS_MAX };

#define SHORT_LIST 64u
#define SHORT_BITS 2u

/* The logarithm to base 2, times 256; linear between the powers. x is not 0. */
static unsigned int log2_256(uint64_t x)
{
	unsigned int whole = 63 - __builtin_clzll(x);

	return whole << 8 | ((x << (63 - whole) << 1) >> 56);
}

struct sample {
	struct range4 range[2 * SAMPLE_MAX];
	size_t count;
};

static void sample_take(struct sample *s, const struct cut_space *space,
			const struct cut_hull *hull, unsigned int field, const uint32_t *list,
			size_t count)
{
	size_t goal = SAMPLE + count / SAMPLE_SHARE, step;

	goal = goal < SAMPLE_MAX ? goal : SAMPLE_MAX;
	step = count > goal ? count / goal : 1;
	s->count = 0;
	for (size_t i = 0; i < count; i += step)
		s->range[s->count++] = cut_clip(space->ranges[field][list[i]], hull->range[field]);
}

/* Bits in which boxes of the sample differ: a run that begins at another one parts nothing more. */
static uint32_t varying_bits(const struct sample *s)
{
	uint32_t ones = 0, zeros = 0, border = 0;

	for (size_t i = 0; i < s->count; i++) {
		struct range4 r = s->range[i];
		uint32_t differ = r.first ^ r.last;
		uint32_t open = differ ? ~0u >> __builtin_clz(differ) : 0;

		ones |= r.first & ~open;
		zeros |= ~r.first & ~open;
		/* A range that is no block has borders inside it. */
		if ((r.first & open) || (r.last & open) != open)
			border |= open;
	}
	return (ones & zeros) | border;
}

/* What a cut does to the sample, in units of a 256th of a bit. */
struct effect {
	unsigned int size; /* of the child that a box finds itself in */
	unsigned int cost; /* all together; without a cut, the size of the sample */
};

static struct effect effect_of(const struct sample *s, unsigned int shift, unsigned int bits)
{
	uint32_t size[1u << BITS_MAX], children = 1u << bits;
	uint64_t sum = 0, squares = 0, everywhere = 0;
	struct effect effect;

	memset(size, 0, children * sizeof(*size));
	for (size_t i = 0; i < s->count; i++) {
		struct cut_reach reach = cut_reach(s->range[i], shift, bits);

		if (reach.count == children) {
			everywhere++;
			continue;
		}
		sum += reach.count;
		for (uint32_t c = 0; c < reach.count; c++)
			squares += 2 * size[(reach.first + c) & (children - 1)]++ + 1;
	}
	squares += 2 * everywhere * sum + children * everywhere * everywhere;
	sum += children * everywhere;
	effect.size = log2_256(squares) - log2_256(sum);
	effect.cost = effect.size + (log2_256(sum) - log2_256(s->count)) / 2 + bits * BIT_COST;
	return effect;
}

/* The best cut so far, and by which cost, that of its place included. */
struct best {
	struct effect effect;
	struct cut_choice choice;
	unsigned int cost;
};

/*
 * Cuts whose uppermost bit is number end - 1, `place` of all in its field that are worth a look. With more bits
 * they mostly get better up to a point and worse from there on: no need to look at the rest then.
 */
static void choose_bits(const struct sample *s, size_t count, struct cut_choice cut,
			unsigned int end, unsigned int place, struct best *best)
{
	unsigned int least = UINT32_MAX;

	for (size_t i = count > SHORT_LIST ? SHORT_BITS : 0; i < sizeof(bit_counts); i++) {
		struct effect effect;

		cut.bits = bit_counts[i];
		if (cut.bits > end || 1u << cut.bits > 2 * count + 8)
			return;
		cut.shift = end - cut.bits;
		effect = effect_of(s, cut.shift, cut.bits);
		if (effect.cost + place * PLACE_COST < best->cost)
			*best = (struct best){ effect, cut, effect.cost + place * PLACE_COST };
		if (effect.cost > least && effect.cost - least > WORSE)
			return;
		least = effect.cost < least ? effect.cost : least;
	}
}

bool cut_choose(const struct cut_space *space, const struct cut_hull *hull, const uint32_t *list,
		size_t count, struct cut_choice *ret)
{
	struct best best = { .cost = UINT32_MAX };
	struct sample s;

	for (unsigned int f = 0; f < space->field_count; f++) {
		unsigned int place = 0;
		uint32_t vary;

		sample_take(&s, space, hull, f, list, count);
		vary = varying_bits(&s);
		for (unsigned int end = 32; end; end--)
			if (vary >> (end - 1) & 1)
				choose_bits(&s, count, (struct cut_choice){ .field = f }, end,
					    place++, &best);
	}
	*ret = best.choice;
	if (best.cost == UINT32_MAX)
		return false;
	if (count > DP_CUT_BOXES && count <= TOO_LONG)
		return best.effect.size + GAIN_MIN < log2_256(s.count);
	return best.effect.cost + GAIN_MIN < log2_256(s.count);
}
