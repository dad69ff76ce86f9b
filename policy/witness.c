/* SPDX-License-Identifier: Apache-2.0 */
/* See witness.h. Frames as RFC 791, 8200, 9293, 768, 792 and 4443 have them; checksums are left at zero. */
#include "witness.h"

#include <string.h>

#include <linux/if_ether.h>
#include <netinet/in.h>

#include "sample.h"

#define PICKS  4 /* of a field */
#define RANGES 8 /* of a list that are looked at */

#define IPV4_BYTES  20u
#define IPV6_BYTES  40u
#define TCP_BYTES   20u
#define OTHER_BYTES 8u
#define SCTP_BYTES  12u
#define TTL         64

#define SYN 0x02

/* ---- what stands in a field ------------------------------------------------------------------- */

struct picks {
	u128 at[PICKS];
	size_t count;
};

struct side {
	const struct model *model;
	const struct model_rule *rule;
	enum reach_family family;
	bool source;
	struct picks picks;
};

static void pick_address(struct side *s, u128 address)
{
	const struct sample_side side = { SAMPLE_ADDRESS, address };
	enum answer answer = s->source ? sample_from(s->model, s->rule, s->family, side)
				       : sample_to(s->model, s->rule, s->family, side);

	for (size_t i = 0; i < s->picks.count; i++)
		if (s->picks.at[i] == address)
			return;
	if (answer == ANSWER_YES && s->picks.count < PICKS)
		s->picks.at[s->picks.count++] = address;
}

/* The ends of what the rule names, and the neighbours of what it excludes. */
static void pick_addresses(struct side *s)
{
	const struct model_rule *rule = s->rule;
	struct address_range all = address_range_all(s->family), ranges[RANGES] = { all };
	size_t count = 1;

	if (rule->keys & (s->source ? MODEL_KEY_FROM : MODEL_KEY_TO))
		count = operand_ranges(s->model, s->source ? &rule->from : &rule->to, s->family,
				       ranges, RANGES);
	for (size_t i = 0; i < count && i < RANGES; i++) {
		pick_address(s, ranges[i].last);
		pick_address(s, ranges[i].first);
	}
	if (!(rule->keys & (s->source ? MODEL_KEY_NOT_FROM : MODEL_KEY_NOT_TO)))
		return;
	count = operand_ranges(s->model, s->source ? &rule->not_from : &rule->not_to, s->family,
			       ranges, RANGES);
	for (size_t i = 0; i < count && i < RANGES; i++) {
		if (ranges[i].first != all.first)
			pick_address(s, ranges[i].first - 1);
		if (ranges[i].last != all.last)
			pick_address(s, ranges[i].last + 1);
	}
}

/* Behind these numbers IPv6 has another header, not a payload. */
static bool is_extension(enum reach_family family, unsigned int proto)
{
	return family == REACH_IPV6 &&
	       (proto == IPPROTO_HOPOPTS || proto == IPPROTO_ROUTING || proto == IPPROTO_FRAGMENT ||
		proto == IPPROTO_AH || proto == IPPROTO_DSTOPTS || proto == IPPROTO_MH);
}

static struct picks pick_protos(const struct reach *reach, enum reach_family family)
{
	const uint8_t known[] = { IPPROTO_TCP, IPPROTO_UDP, IPPROTO_SCTP,
				  family == REACH_IPV4 ? IPPROTO_ICMP : IPPROTO_ICMPV6 };
	struct picks p = {};

	for (size_t i = 0; i < sizeof(known); i++)
		if (reach->protos[family][known[i] / 64] >> (known[i] % 64) & 1)
			p.at[p.count++] = known[i];
	for (unsigned int proto = 0; !p.count && proto <= UINT8_MAX; proto++)
		if (reach->protos[family][proto / 64] >> (proto % 64) & 1 &&
		    !is_extension(family, proto))
			p.at[p.count++] = proto;
	return p;
}

/* The n-th end of the ranges of a key, or what is usual where the rule does not name it. */
static uint16_t end_of(const struct model_range *ranges, size_t count, size_t n, uint16_t usual)
{
	const struct model_range *range = count ? &ranges[n / 2 % count] : NULL;

	if (!range)
		return usual;
	return n % 2 ? range->last : range->first;
}

/* False where no flags satisfy the rule. */
static bool pick_flags(const struct model_rule *rule, uint8_t *ret)
{
	uint8_t any = rule->flags_any & ~rule->flags_none;

	*ret = SYN;
	if (!(rule->keys & MODEL_KEY_FLAGS))
		return true;
	*ret = rule->flags_all | (rule->flags_all & any ? 0 : any & -any);
	return !(rule->flags_all & rule->flags_none) && (any || !rule->flags_any);
}

/* ---- frames ------------------------------------------------------------------------------------ */

struct fields {
	enum reach_family family;
	u128 from, to;
	uint8_t proto, flags, type, code;
	uint16_t sport, dport;
	const uint16_t *vlan; /* NULL: no tag */
};

static void put(struct witness *w, u128 value, unsigned int bytes)
{
	while (bytes--)
		w->frame[w->len++] = (uint8_t)(value >> (8 * bytes));
}

static unsigned int l4_bytes(uint8_t proto)
{
	return proto == IPPROTO_TCP ? TCP_BYTES : proto == IPPROTO_SCTP ? SCTP_BYTES : OTHER_BYTES;
}

static void put_link(struct witness *w, const struct fields *f)
{
	put(w, 0, 2 * ETH_ALEN);
	if (f->vlan) {
		put(w, ETH_P_8021Q, 2);
		put(w, *f->vlan, 2);
	}
	put(w, f->family == REACH_IPV4 ? ETH_P_IP : ETH_P_IPV6, 2);
}

static void put_ip(struct witness *w, const struct fields *f)
{
	unsigned int bytes = l4_bytes(f->proto);

	if (f->family == REACH_IPV6) {
		put(w, 6u << 28, 4);
		put(w, bytes, 2);
		put(w, f->proto, 1);
		put(w, TTL, 1);
		put(w, f->from, sizeof(struct in6_addr));
		put(w, f->to, sizeof(struct in6_addr));
		return;
	}
	put(w, 4 << 4 | IPV4_BYTES / 4, 1);
	put(w, 0, 1);
	put(w, IPV4_BYTES + bytes, 2);
	put(w, 0, 4); /* identification, fragment */
	put(w, TTL, 1);
	put(w, f->proto, 1);
	put(w, 0, 2);
	put(w, f->from, sizeof(struct in_addr));
	put(w, f->to, sizeof(struct in_addr));
}

static void put_l4(struct witness *w, const struct fields *f)
{
	uint32_t end = w->len + l4_bytes(f->proto);

	if (f->proto == IPPROTO_ICMP || f->proto == IPPROTO_ICMPV6) {
		put(w, f->type, 1);
		put(w, f->code, 1);
	} else if (f->proto == IPPROTO_TCP || f->proto == IPPROTO_UDP || f->proto == IPPROTO_SCTP) {
		put(w, f->sport, 2);
		put(w, f->dport, 2);
	}
	if (f->proto == IPPROTO_UDP)
		put(w, OTHER_BYTES, 2);
	if (f->proto == IPPROTO_TCP) {
		put(w, 0, 8); /* numbers */
		put(w, TCP_BYTES / 4 << 4, 1);
		put(w, f->flags, 1);
		put(w, UINT16_MAX, 2);
	}
	while (w->len < end)
		put(w, 0, 1);
}

static struct witness frame_of(const struct fields *f)
{
	struct witness w = {};

	put_link(&w, f);
	put_ip(&w, f);
	put_l4(&w, f);
	return w;
}

/* ---- a rule ------------------------------------------------------------------------------------ */

static size_t larger(size_t a, size_t b)
{
	return a > b ? a : b;
}

static size_t add_frame(struct witness *to, size_t count, struct witness w)
{
	for (size_t i = 0; i < count; i++)
		if (!memcmp(to[i].frame, w.frame, sizeof(w.frame)))
			return count;
	to[count] = w;
	return count + 1;
}

static size_t make_family(const struct model *model, const struct model_rule *rule,
			  const struct reach *reach, enum reach_family family, struct witness *ret)
{
	struct side from = { model, rule, family, true, {} },
		    to = { model, rule, family, false, {} };
	struct picks protos = pick_protos(reach, family);
	struct fields f = { .family = family };
	bool icmp4 = family == REACH_IPV4;
	size_t count, made = 0;

	pick_addresses(&from);
	pick_addresses(&to);
	if (!protos.count || !from.picks.count || !to.picks.count || !pick_flags(rule, &f.flags))
		return 0;
	count = larger(larger(from.picks.count, to.picks.count), protos.count);
	if (rule->keys &
	    (MODEL_KEY_SPORT | MODEL_KEY_DPORT | MODEL_KEY_TYPE | MODEL_KEY_CODE | MODEL_KEY_VLAN))
		count = PICKS;
	for (size_t i = 0; i < count; i++) {
		f.from = from.picks.at[i % from.picks.count];
		f.to = to.picks.at[i % to.picks.count];
		f.proto = (uint8_t)protos.at[i % protos.count];
		f.sport = end_of(rule->sport.at, rule->sport.count, i, 40000);
		f.dport = end_of(rule->dport.at, rule->dport.count, i, 9);
		f.type = (uint8_t)end_of(rule->type.at, rule->type.count, i, icmp4 ? 8 : 128);
		f.code = (uint8_t)end_of(rule->code.at, rule->code.count, i, 0);
		f.vlan = rule->vlan.count ? &rule->vlan.at[i % rule->vlan.count] : NULL;
		made = add_frame(ret, made, frame_of(&f));
	}
	return made;
}

size_t witness_make(const struct model *model, const struct model_rule *rule,
		    struct witness ret[static WITNESSES])
{
	const struct reach reach = reach_of(model, rule);
	size_t count = make_family(model, rule, &reach, REACH_IPV4, ret);

	return count + make_family(model, rule, &reach, REACH_IPV6, ret + count);
}
