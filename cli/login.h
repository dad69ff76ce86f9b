/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the caller is logged in. sudo and tmux strip the environment, so it is found in the kernel: by walking up from
 * this process to one that owns an established inbound TCP connection.
 */
#pragma once

#include <stdbool.h>
#include <stdint.h>

#include <netinet/in.h>

struct login {
	int family; /* AF_INET, AF_INET6 */
	union {
		struct in_addr ipv4;
		struct in6_addr ipv6;
	} here, there;
	uint16_t here_port, there_port;
};

/*
 * False when the caller does not sit at a terminal, or nobody above it has a connection that we may see: other users'
 * processes show theirs to root only.
 */
bool login_find(struct login *ret);

/* Without the connection: whether the caller sits at a terminal whose environment says that the login is remote. */
bool login_says_remote(void);
