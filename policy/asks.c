/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rules to groups. Which packets a rule can match at all is settled in the protocol dimension,
 * whose index holds the family as well: a rule with IPv4 addresses only asks for IPv4 there and for
 * nothing in the tables of IPv6 addresses.
 */
#include "asks.h"

#include <netinet/in.h>
#include <string.h>
#include <xxhash.h>

/* Bits of a mask of families; the bit number is the family part of DP_PROTO_INDEX. */
#define IPV4_BIT 1u
#define IPV6_BIT 2u

u128 asks_last(enum dp_dim dim)
{
	switch (dim) {
	case DP_DIM_PROTO:
		return DP_PROTO_NOT_IP;
	case DP_DIM_SRC4:
	case DP_DIM_DST4:
		return UINT32_MAX;
	case DP_DIM_SRC6:
	case DP_DIM_DST6:
		return ~(u128)0;
	case DP_DIM_SPORT:
	case DP_DIM_DPORT:
	case DP_DIM_ICMP4:
	case DP_DIM_ICMP6:
		return UINT16_MAX;
	case DP_DIM_FLAGS:
		return UINT8_MAX;
	case DP_DIM_VLAN:
		return DP_VLAN_NONE;
	case DP_DIM_COUNT:
		break;
	}
	return 0;
}

/* ---- groups ---------------------------------------------------------------------------------- */

static u128 hash_of(const void *bytes, size_t len, u128 seed)
{
	XXH128_hash_t h =
		XXH3_128bits_withSeed(bytes, len, (uint64_t)seed ^ (uint64_t)(seed >> 64));

	return (u128)h.high64 << 64 | h.low64;
}

static int group_add(struct asks *a, struct asks_dim *dim, u128 hash, struct class_group group,
		     uint32_t *ret_group)
{
	uint32_t *copy = arena_alloc(&a->arena, (group.count + 1) * sizeof(*copy));
	int r;

	if (!copy)
		return -ENOMEM;
	if (group.count)
		memcpy(copy, group.sources, group.count * sizeof(*copy));
	group.sources = copy;
	*ret_group = dim->groups.count;
	r = vec_push(&dim->groups, group);
	return r ?: u128map_add(&dim->known, hash, *ret_group);
}

/* ---- groups of addresses --------------------------------------------------------------------- */

static struct class_source source_of(const struct prefix_set *set, bool wide)
{
	if (wide)
		return (struct class_source){ .v6 = set->v6.at, .count = set->v6.count };
	return (struct class_source){ .v4 = set->v4.at, .count = set->v4.count };
}

static bool set_has_family(const struct prefix_set *set, bool wide)
{
	return wide ? set->v6.count : set->v4.count;
}

static bool has_family(const struct model *m, const struct model_operand *o, bool wide)
{
	if (set_has_family(&o->literals, wide))
		return true;
	for (size_t i = 0; i < o->sets.count; i++)
		if (set_has_family(&m->sets.at[o->sets.at[i]].prefixes, wide))
			return true;
	return false;
}

static u128 operand_hash(const struct model_operand *o, bool wide)
{
	u128 sets = hash_of(o->sets.at, o->sets.count * sizeof(*o->sets.at), o->sets.count);

	if (wide)
		return hash_of(o->literals.v6.at, o->literals.v6.count * sizeof(struct range6),
			       sets);
	return hash_of(o->literals.v4.at, o->literals.v4.count * sizeof(struct range4), sets);
}

static int set_source(struct asks_dim *dim, const struct model *m, uint32_t set, bool wide,
		      uint32_t *ret_source)
{
	*ret_source = dim->source_of_set[set];
	if (*ret_source != ASK_NOTHING)
		return 0;
	*ret_source = dim->source_of_set[set] = dim->sources.count;
	return vec_push(&dim->sources, source_of(&m->sets.at[set].prefixes, wide));
}

bool asks_runtime(const struct model *m, const struct model_operand *o)
{
	for (size_t i = 0; i < o->sets.count; i++)
		if (m->sets.at[o->sets.at[i]].runtime)
			return true;
	return false;
}

static int operand_group(struct asks *a, const struct model *m, enum dp_dim d,
			 const struct model_operand *o, uint32_t *ret_group)
{
	struct asks_dim *dim = &a->dims[d];
	bool wide = asks_wide(d);
	u128 hash = operand_hash(o, wide);
	VEC(uint32_t) sources = {};
	uint32_t source;
	int r = 0;

	*ret_group = u128map_get(&dim->known, hash);
	if (*ret_group != U128MAP_NONE)
		return 0;
	if (set_has_family(&o->literals, wide)) {
		source = dim->sources.count;
		r = vec_push(&dim->sources, source_of(&o->literals, wide));
		if (!r)
			r = vec_push(&sources, source);
	}
	for (size_t i = 0; !r && i < o->sets.count; i++) {
		r = set_source(dim, m, o->sets.at[i], wide, &source);
		if (!r)
			r = vec_push(&sources, source);
	}
	if (!r)
		r = group_add(a, dim, hash, (struct class_group){ sources.at, sources.count },
			      ret_group);
	vec_done(&sources);
	return r;
}

/* One direction of a rule's addresses in one family that the rule can match. */
static int ask_address(struct asks *a, const struct model *m, const struct model_rule *rule,
		       enum dp_dim d, size_t at)
{
	bool source = d == DP_DIM_SRC4 || d == DP_DIM_SRC6;
	const struct model_operand *in = source ? &rule->from : &rule->to;
	const struct model_operand *out = source ? &rule->not_from : &rule->not_to;
	struct ask *ask = &a->dims[d].slots[at];
	int r = 0;

	if (rule->keys & (source ? MODEL_KEY_FROM : MODEL_KEY_TO))
		r = operand_group(a, m, d, in, &ask->in);
	if (r || !(rule->keys & (source ? MODEL_KEY_NOT_FROM : MODEL_KEY_NOT_TO)))
		return r;
	/* Every address is outside a list that has none of its family. */
	if (!has_family(m, out, asks_wide(d)))
		return 0;
	a->dims[d].negated = true;
	return operand_group(a, m, d, out, &ask->out);
}

static int ask_addresses(struct asks *a, const struct model *m, const struct model_rule *rule,
			 unsigned int families, size_t at)
{
	int r = 0;

	if (families & IPV4_BIT) {
		r = ask_address(a, m, rule, DP_DIM_SRC4, at);
		if (!r)
			r = ask_address(a, m, rule, DP_DIM_DST4, at);
	}
	if (!r && families & IPV6_BIT) {
		r = ask_address(a, m, rule, DP_DIM_SRC6, at);
		if (!r)
			r = ask_address(a, m, rule, DP_DIM_DST6, at);
	}
	return r;
}

/* ---- groups of small values ------------------------------------------------------------------ */

#define SMALL_VALUES 65536

/* Values of a dimension with at most 16 bits. */
struct values {
	uint64_t word[SMALL_VALUES / 64];
};

static void values_add(struct values *v, uint32_t first, uint32_t last)
{
	for (uint32_t i = first, next; i <= last; i = next) {
		uint64_t from = ~0ull << (i % 64);

		next = (i | 63) + 1;
		v->word[i / 64] |= next > last + 1 ? from & ~0ull >> (next - 1 - last) : from;
	}
}

static bool values_has(const struct values *v, uint32_t i)
{
	return v->word[i / 64] >> (i % 64) & 1;
}

/* The values as ranges; room for SMALL_VALUES / 2. */
static size_t values_ranges(const struct values *v, struct range4 *ret)
{
	size_t n = 0;

	for (uint32_t i = 0; i < SMALL_VALUES; i++) {
		if (!v->word[i / 64]) {
			i |= 63;
			continue;
		}
		if (!values_has(v, i))
			continue;
		if (n && ret[n - 1].last + 1 == i)
			ret[n - 1].last = i;
		else
			ret[n++] = (struct range4){ i, i };
	}
	return n;
}

static int ask_values(struct asks *a, enum dp_dim d, size_t at, const struct values *values)
{
	struct asks_dim *dim = &a->dims[d];
	struct ask *ask = &dim->slots[at];
	u128 hash = hash_of(values, sizeof(*values), 0);
	_cleanup_free_ struct range4 *ranges = NULL;
	struct range4 *copy;
	uint32_t source = dim->sources.count;
	size_t n;
	int r;

	ask->in = u128map_get(&dim->known, hash);
	if (ask->in != U128MAP_NONE)
		return 0;
	ranges = reallocarray(NULL, SMALL_VALUES / 2, sizeof(*ranges));
	if (!ranges)
		return -ENOMEM;
	n = values_ranges(values, ranges);
	copy = arena_alloc(&a->arena, (n + 1) * sizeof(*copy));
	if (!copy)
		return -ENOMEM;
	memcpy(copy, ranges, n * sizeof(*copy));
	r = vec_push(&dim->sources, (struct class_source){ .v4 = copy, .count = n });
	return r ?: group_add(a, dim, hash, (struct class_group){ &source, 1 }, &ask->in);
}

static bool rule_has_proto(const struct model_rule *rule, uint8_t proto)
{
	return !(rule->keys & MODEL_KEY_PROTO) || rule->protos[proto / 64] >> (proto % 64) & 1;
}

static bool may_have_family(const struct model *m, const struct model_operand *o, bool wide)
{
	return asks_runtime(m, o) || has_family(m, o, wide);
}

unsigned int asks_families(const struct model *m, const struct model_rule *rule)
{
	unsigned int families = IPV4_BIT | IPV6_BIT;

	if (rule->family == MODEL_FAMILY_IPV4)
		families &= ~IPV6_BIT;
	if (rule->family == MODEL_FAMILY_IPV6)
		families &= ~IPV4_BIT;
	if (rule->keys & MODEL_KEY_FROM && !may_have_family(m, &rule->from, false))
		families &= ~IPV4_BIT;
	if (rule->keys & MODEL_KEY_FROM && !may_have_family(m, &rule->from, true))
		families &= ~IPV6_BIT;
	if (rule->keys & MODEL_KEY_TO && !may_have_family(m, &rule->to, false))
		families &= ~IPV4_BIT;
	if (rule->keys & MODEL_KEY_TO && !may_have_family(m, &rule->to, true))
		families &= ~IPV6_BIT;
	return families;
}

static bool asks_type(const struct model_rule *rule)
{
	return rule->keys & (MODEL_KEY_TYPE | MODEL_KEY_CODE);
}

bool asks_proto(const struct model_rule *rule, unsigned int family, unsigned int proto)
{
	bool ports = proto == IPPROTO_TCP || proto == IPPROTO_UDP || proto == IPPROTO_SCTP;

	if (!rule_has_proto(rule, proto))
		return false;
	if (rule->keys & MODEL_KEY_PROTO && proto == (family ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return false;
	if (asks_type(rule) && proto != (family ? IPPROTO_ICMPV6 : IPPROTO_ICMP))
		return false;
	if (rule->keys & (MODEL_KEY_SPORT | MODEL_KEY_DPORT) && !ports)
		return false;
	return !(rule->keys & MODEL_KEY_FLAGS) || proto == IPPROTO_TCP;
}

bool asks_any_packet(const struct model_rule *rule)
{
	return !(rule->keys & ~MODEL_KEY_VLAN);
}

static int ask_proto(struct asks *a, const struct model_rule *rule, unsigned int families,
		     size_t at)
{
	struct values values = {};

	if (asks_any_packet(rule))
		return 0;
	for (unsigned int family = 0; family < 2; family++)
		for (unsigned int proto = 0; proto < 256; proto++)
			if (families >> family & 1 && asks_proto(rule, family, proto))
				values_add(&values, DP_PROTO_INDEX(family, proto),
					   DP_PROTO_INDEX(family, proto));
	return ask_values(a, DP_DIM_PROTO, at, &values);
}

static int ask_ports(struct asks *a, const struct model_rule *rule, size_t at)
{
	struct values values = {};
	int r = 0;

	if (rule->keys & MODEL_KEY_SPORT) {
		for (size_t i = 0; i < rule->sport.count; i++)
			values_add(&values, rule->sport.at[i].first, rule->sport.at[i].last);
		r = ask_values(a, DP_DIM_SPORT, at, &values);
	}
	if (r || !(rule->keys & MODEL_KEY_DPORT))
		return r;
	values = (struct values){};
	for (size_t i = 0; i < rule->dport.count; i++)
		values_add(&values, rule->dport.at[i].first, rule->dport.at[i].last);
	return ask_values(a, DP_DIM_DPORT, at, &values);
}

static bool in_ranges(const struct model_range *ranges, size_t count, uint16_t value)
{
	for (size_t i = 0; i < count; i++)
		if (value >= ranges[i].first && value <= ranges[i].last)
			return true;
	return false;
}

static int ask_icmp(struct asks *a, const struct model_rule *rule, unsigned int families, size_t at)
{
	struct values values = {};
	int r = 0;

	if (!asks_type(rule))
		return 0;
	for (uint32_t i = 0; i < SMALL_VALUES; i++) {
		if (rule->keys & MODEL_KEY_TYPE &&
		    !in_ranges(rule->type.at, rule->type.count, i >> 8))
			i |= 0xff;
		else if (!(rule->keys & MODEL_KEY_CODE) ||
			 in_ranges(rule->code.at, rule->code.count, i & 0xff))
			values_add(&values, i, i);
	}
	if (families & IPV4_BIT && rule_has_proto(rule, IPPROTO_ICMP))
		r = ask_values(a, DP_DIM_ICMP4, at, &values);
	if (!r && families & IPV6_BIT && rule_has_proto(rule, IPPROTO_ICMPV6))
		r = ask_values(a, DP_DIM_ICMP6, at, &values);
	return r;
}

static int ask_flags(struct asks *a, const struct model_rule *rule, size_t at)
{
	struct values values = {};

	if (!(rule->keys & MODEL_KEY_FLAGS))
		return 0;
	for (unsigned int f = 0; f <= UINT8_MAX; f++)
		if ((f & rule->flags_all) == rule->flags_all && !(f & rule->flags_none) &&
		    (!rule->flags_any || f & rule->flags_any))
			values_add(&values, f, f);
	return ask_values(a, DP_DIM_FLAGS, at, &values);
}

static int ask_vlan(struct asks *a, const struct model_rule *rule, size_t at)
{
	struct values values = {};

	if (!(rule->keys & MODEL_KEY_VLAN))
		return 0;
	for (size_t i = 0; i < rule->vlan.count; i++)
		values_add(&values, rule->vlan.at[i], rule->vlan.at[i]);
	return ask_values(a, DP_DIM_VLAN, at, &values);
}

/* ---- all rules ------------------------------------------------------------------------------- */

static int ask(struct asks *a, const struct model *m, const struct model_rule *rule, size_t at)
{
	unsigned int families = asks_families(m, rule);
	int r = ask_proto(a, rule, families, at);

	if (!r)
		r = ask_addresses(a, m, rule, families, at);
	if (!r)
		r = ask_ports(a, rule, at);
	if (!r)
		r = ask_icmp(a, rule, families, at);
	if (!r)
		r = ask_flags(a, rule, at);
	return r ?: ask_vlan(a, rule, at);
}

static int dim_init(struct asks_dim *dim, bool address, size_t sets, size_t slots)
{
	dim->slots = reallocarray(NULL, slots + 1, sizeof(*dim->slots));
	if (!dim->slots)
		return -ENOMEM;
	memset(dim->slots, 0xff, slots * sizeof(*dim->slots)); /* ASK_NOTHING */
	if (!address)
		return 0;
	dim->source_of_set = reallocarray(NULL, sets + 1, sizeof(*dim->source_of_set));
	if (!dim->source_of_set)
		return -ENOMEM;
	memset(dim->source_of_set, 0xff, sets * sizeof(*dim->source_of_set));
	return 0;
}

int asks_init(struct asks *asks, const struct model *model, const struct slots *slots)
{
	size_t count = 0;
	int r = 0;

	*asks = (struct asks){};
	asks->first_slot = reallocarray(NULL, model->chains.count + 1, sizeof(*asks->first_slot));
	if (!asks->first_slot)
		return -ENOMEM;
	for (size_t c = 0; c < model->chains.count; c++) {
		asks->first_slot[c] = count;
		count += slots[c].count;
	}
	for (enum dp_dim d = 0; !r && d < DP_DIM_COUNT; d++)
		r = dim_init(&asks->dims[d], asks_address(d), model->sets.count, count);
	for (size_t c = 0; !r && c < model->chains.count; c++)
		for (size_t s = 0; !r && s < slots[c].count; s++)
			r = ask(asks, model, &model->chains.at[c].rules.at[slots[c].rule[s]],
				asks->first_slot[c] + s);
	return r;
}

void asks_done(struct asks *asks)
{
	for (enum dp_dim d = 0; d < DP_DIM_COUNT; d++) {
		struct asks_dim *dim = &asks->dims[d];

		vec_done(&dim->sources);
		vec_done(&dim->groups);
		u128map_done(&dim->known);
		free(dim->source_of_set);
		free(dim->slots);
	}
	free(asks->first_slot);
	arena_done(&asks->arena);
}
