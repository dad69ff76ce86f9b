/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stable codes of diagnostics, each with one line of help. Scripts compare codes, so a code is never
 * renamed and never changes its meaning; new ones are added at the end of their group.
 */
#pragma once

#define DIAG_CODES(X)                                                                              \
	/* the file */                                                                             \
	X("empty-file", "the file holds no policy")                                                \
	X("not-text", "the file is compressed, binary or not UTF-8 text")                          \
	X("bad-character",                                                                         \
	  "a character that has no place in a policy: control, bidirectional, NUL")                \
	X("too-large", "the file, a line, a number of nested levels or a list is over its limit")  \
	X("cannot-read", "a file the policy names cannot be read")                                 \
	/* YAML */                                                                                 \
	X("yaml-syntax", "the text is not well-formed YAML")                                       \
	X("yaml-subset", "YAML the policy language leaves out: anchors, aliases, tags, documents") \
	X("duplicate-key", "a key is written twice in one place")                                  \
	/* the shape */                                                                            \
	X("unknown-key", "no such section or key here")                                            \
	X("missing-key", "a key that must be written is missing")                                  \
	X("wrong-type", "a list, a map or a plain value stands where another is expected")         \
	X("not-carried-out", "known, but this version cannot do it yet")                           \
	X("newer-version", "the policy is written for a newer penstock")                           \
	X("bad-version", "the policy's version is not a known number")                             \
	/* values */                                                                               \
	X("bad-choice", "the value is none of the words that are allowed")                         \
	X("bad-name", "names are 1-63 of A-Z a-z 0-9 _ . -, not starting with a dash")             \
	X("reserved-name", "the name has a meaning of its own")                                    \
	X("duplicate-name", "two things of one kind have the same name")                           \
	X("duplicate-value", "a value is listed twice")                                            \
	X("bad-number", "not a decimal number, or out of range")                                   \
	X("bad-duration", "not a duration like 500ms, 10s, 5m or 1h, or out of range")             \
	X("bad-rate", "not a rate like 10k/s, or out of range")                                    \
	X("bad-port", "not a decimal port between 0 and 65535")                                    \
	X("bad-range", "a range is reversed or incomplete")                                        \
	X("bad-protocol", "not a protocol name or number")                                         \
	X("bad-icmp", "not an ICMP type or code of this family")                                   \
	X("bad-vlan", "not a VLAN id between 0 and 4094")                                          \
	X("bad-device", "not a device name the kernel could have")                                 \
	X("bad-path", "not a path, or of a kind that is not read")                                 \
	/* addresses */                                                                            \
	X("bad-address", "not an IPv4 or IPv6 address")                                            \
	X("bad-prefix", "the prefix length is missing, malformed or out of range")                 \
	X("host-bits", "address bits are set behind the prefix length")                            \
	X("leading-zero", "a leading zero is ambiguous: decimal or octal")                         \
	X("line-too-long", "a line of a set file is over its limit")                               \
	X("zone-not-allowed", "an address zone such as %eth0 has no place here")                   \
	X("mapped-address", "IPv4-mapped IPv6 addresses never appear on the wire")                 \
	/* meaning */                                                                              \
	X("unknown-set", "no set of this name is defined")                                         \
	X("unknown-zone", "no zone of this name is attached")                                      \
	X("bad-place", "a chain's place is ZONE.ingress or ZONE.egress")                           \
	X("duplicate-chain", "two chains for one zone and direction")                              \
	X("duplicate-device", "a device is named in two zones")                                    \
	X("needs-protocol", "the key has no meaning without certain protocols")                    \
	X("never-matches", "no packet can satisfy all keys of the rule")                           \
	X("state-not-allowed", "a rule that never drops cannot depend on state")                   \
	X("shadowed", "an earlier rule takes every packet this one could match")                   \
	X("no-dhcp", "a chain drops what DHCP clients need")                                       \
	X("no-neighbour-discovery", "a rule drops IPv6 neighbour discovery without naming it")     \
	X("no-path-mtu", "a chain drops the messages that tell the MTU of a path")                 \
	X("empty-set", "the set has no members")                                                   \
	X("unused-set", "no rule refers to the set")                                               \
	X("over-max", "the set has more members than its 'max'")                                   \
	X("file-too-large", "a set file is over its limit")                                        \
	X("too-many-errors", "a set file has more errors than are listed")                         \
	X("no-backend", "the service or one of its addresses has no backend")                      \
	X("duplicate-backend", "two backends of a service are the same")                           \
	X("backend-loop", "a backend is the service's own address")                                \
	X("family-mismatch", "IPv4 and IPv6 do not go together here")                              \
	X("duplicate-service", "two services on one address, protocol and port")                   \
	X("bad-check", "the health check contradicts itself")                                      \
	/* capacity */                                                                             \
	X("capacity", "a table of the data plane is too small for the policy")
