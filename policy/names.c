/* SPDX-License-Identifier: Apache-2.0 */
/* Tables of names; the numbers are IANA's. */
#include "names.h"

#include <string.h>

#include "diag.h"

#define TABLE(array)                                        \
	{                                                   \
		(array), sizeof(array) / sizeof((array)[0]) \
	}

static const struct name_number protocols[] = {
	{ "tcp", 6 }, { "udp", 17 }, { "icmp", 1 }, { "icmp6", 58 }, { "sctp", 132 },
};

static const struct name_number other_protocols[] = {
	{ "icmpv6", 58 }, { "ipv6-icmp", 58 }, { "igmp", 2 },  { "ipip", 4 },  { "ipencap", 4 },
	{ "egp", 8 },     { "dccp", 33 },      { "ipv6", 41 }, { "gre", 47 },  { "esp", 50 },
	{ "ah", 51 },     { "eigrp", 88 },     { "ospf", 89 }, { "pim", 103 }, { "vrrp", 112 },
	{ "l2tp", 115 },  { "udplite", 136 },
};

static const struct name_number flags[] = {
	{ "fin", 0x01 }, { "syn", 0x02 }, { "rst", 0x04 }, { "psh", 0x08 },
	{ "ack", 0x10 }, { "urg", 0x20 }, { "ece", 0x40 }, { "cwr", 0x80 },
};

static const struct name_number services[] = {
	{ "ftp", 21 },          { "ssh", 22 },     { "telnet", 23 },      { "smtp", 25 },
	{ "domain", 53 },       { "dns", 53 },     { "tftp", 69 },        { "http", 80 },
	{ "kerberos", 88 },     { "pop3", 110 },   { "sunrpc", 111 },     { "ntp", 123 },
	{ "imap", 143 },        { "snmp", 161 },   { "bgp", 179 },        { "ldap", 389 },
	{ "https", 443 },       { "smb", 445 },    { "submission", 587 }, { "ldaps", 636 },
	{ "imaps", 993 },       { "pop3s", 995 },  { "openvpn", 1194 },   { "mssql", 1433 },
	{ "nfs", 2049 },        { "mysql", 3306 }, { "rdp", 3389 },       { "postgresql", 5432 },
	{ "sip", 5060 },        { "redis", 6379 }, { "syslog", 514 },     { "rsync", 873 },
	{ "memcached", 11211 },
};

static const struct name_number icmp4_types[] = {
	{ "echo-reply", 0 },
	{ "dest-unreachable", 3 },
	{ "source-quench", 4 },
	{ "redirect", 5 },
	{ "echo-request", 8 },
	{ "router-advertisement", 9 },
	{ "router-solicitation", 10 },
	{ "time-exceeded", 11 },
	{ "parameter-problem", 12 },
	{ "timestamp-request", 13 },
	{ "timestamp-reply", 14 },
	{ "info-request", 15 },
	{ "info-reply", 16 },
	{ "address-mask-request", 17 },
	{ "address-mask-reply", 18 },
	{ "traceroute", 30 },
	{ "photuris", 40 },
	{ "extended-echo-request", 42 },
	{ "extended-echo-reply", 43 },
};

static const struct name_number icmp6_types[] = {
	{ "dest-unreachable", 1 },
	{ "packet-too-big", 2 },
	{ "time-exceeded", 3 },
	{ "parameter-problem", 4 },
	{ "echo-request", 128 },
	{ "echo-reply", 129 },
	{ "mld-query", 130 },
	{ "mld-report", 131 },
	{ "mld-done", 132 },
	{ "router-solicitation", 133 },
	{ "router-advertisement", 134 },
	{ "neighbour-solicitation", 135 },
	{ "neighbour-advertisement", 136 },
	{ "neighbor-solicitation", 135 },
	{ "neighbor-advertisement", 136 },
	{ "redirect", 137 },
	{ "router-renumbering", 138 },
	{ "node-information-query", 139 },
	{ "node-information-reply", 140 },
	{ "inverse-neighbour-solicitation", 141 },
	{ "inverse-neighbour-advertisement", 142 },
	{ "mld2-report", 143 },
	{ "home-agent-request", 144 },
	{ "home-agent-reply", 145 },
	{ "mobile-prefix-solicitation", 146 },
	{ "mobile-prefix-advertisement", 147 },
	{ "certification-path-solicitation", 148 },
	{ "certification-path-advertisement", 149 },
	{ "multicast-router-advertisement", 151 },
	{ "multicast-router-solicitation", 152 },
	{ "multicast-router-termination", 153 },
	{ "fmip6", 154 },
	{ "rpl-control", 155 },
	{ "locator-update", 156 },
	{ "duplicate-address-request", 157 },
	{ "duplicate-address-confirmation", 158 },
	{ "mpl-control", 159 },
	{ "extended-echo-request", 160 },
	{ "extended-echo-reply", 161 },
};

/* RFC 8335: the same in both families. */
static const struct name_number extended_echo_codes[] = {
	{ "no-error", 0 },      { "malformed-query", 1 },     { "no-such-interface", 2 },
	{ "no-such-entry", 3 }, { "multiple-interfaces", 4 },
};

static const struct icmp_code {
	enum name_family family;
	uint8_t type;
	struct name_table codes;
} icmp_codes[] = {
	{ NAME_ICMP4, 3,
	  TABLE(((const struct name_number[]){
		  { "net-unreachable", 0 },
		  { "host-unreachable", 1 },
		  { "protocol-unreachable", 2 },
		  { "port-unreachable", 3 },
		  { "frag-needed", 4 },
		  { "source-route-failed", 5 },
		  { "net-unknown", 6 },
		  { "host-unknown", 7 },
		  { "host-isolated", 8 },
		  { "net-prohibited", 9 },
		  { "host-prohibited", 10 },
		  { "net-tos-unreachable", 11 },
		  { "host-tos-unreachable", 12 },
		  { "admin-prohibited", 13 },
		  { "host-precedence-violation", 14 },
		  { "precedence-cutoff", 15 },
	  })) },
	{ NAME_ICMP4, 5,
	  TABLE(((const struct name_number[]){
		  { "net-redirect", 0 },
		  { "host-redirect", 1 },
		  { "tos-net-redirect", 2 },
		  { "tos-host-redirect", 3 },
	  })) },
	{ NAME_ICMP4, 9,
	  TABLE(((const struct name_number[]){ { "normal", 0 }, { "no-common-routing", 16 } })) },
	{ NAME_ICMP4, 11,
	  TABLE(((const struct name_number[]){ { "ttl-exceeded", 0 },
					       { "reassembly-timeout", 1 } })) },
	{ NAME_ICMP4, 12,
	  TABLE(((const struct name_number[]){
		  { "pointer-error", 0 }, { "missing-option", 1 }, { "bad-length", 2 } })) },
	{ NAME_ICMP4, 43, TABLE(extended_echo_codes) },
	{ NAME_ICMP6, 1,
	  TABLE(((const struct name_number[]){
		  { "no-route", 0 },
		  { "admin-prohibited", 1 },
		  { "beyond-scope", 2 },
		  { "address-unreachable", 3 },
		  { "port-unreachable", 4 },
		  { "policy-fail", 5 },
		  { "reject-route", 6 },
		  { "source-routing-error", 7 },
		  { "headers-too-long", 8 },
	  })) },
	{ NAME_ICMP6, 3,
	  TABLE(((const struct name_number[]){ { "hop-limit-exceeded", 0 },
					       { "reassembly-timeout", 1 } })) },
	{ NAME_ICMP6, 4,
	  TABLE(((const struct name_number[]){
		  { "erroneous-header", 0 },
		  { "unknown-next-header", 1 },
		  { "unknown-option", 2 },
		  { "incomplete-first-fragment", 3 },
	  })) },
	{ NAME_ICMP6, 161, TABLE(extended_echo_codes) },
};

const struct name_table names_protocols = TABLE(protocols);
const struct name_table names_other_protocols = TABLE(other_protocols);
const struct name_table names_flags = TABLE(flags);
const struct name_table names_services = TABLE(services);
const struct name_table names_icmp_types[NAME_FAMILY_COUNT] = {
	[NAME_ICMP4] = TABLE(icmp4_types),
	[NAME_ICMP6] = TABLE(icmp6_types),
};

struct name_table names_icmp_codes(enum name_family family, uint8_t type)
{
	for (size_t i = 0; i < sizeof(icmp_codes) / sizeof(icmp_codes[0]); i++) {
		if (icmp_codes[i].family == family && icmp_codes[i].type == type)
			return icmp_codes[i].codes;
	}
	return (struct name_table){};
}

int names_find(const struct name_table *table, const char *name)
{
	for (size_t i = 0; i < table->count; i++) {
		if (!strcmp(table->at[i].name, name))
			return table->at[i].number;
	}
	return -1;
}

#define NEAREST_NAMES 64

const char *names_nearest(const struct name_table *table, const char *name)
{
	const char *names[NEAREST_NAMES];
	size_t count = 0;

	for (; count < table->count && count < NEAREST_NAMES; count++)
		names[count] = table->at[count].name;
	return diag_nearest(name, names, count);
}
