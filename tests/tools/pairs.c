/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Watches a policy change frame by frame. Sends pairs of frames out of one device, one that only policy A passes
 * and one that only policy B passes, the one of the policy to come first; a third frame that both pass tells when
 * the pair is decided. A socket in another namespace says which of them arrived. With one change while a pair is
 * under way, none of its frames passes; both pass only if there is no such thing as the moment of the change.
 *   pairs DEVICE NAMESPACE PORT FILE
 * FILE holds frames of 60 bytes whose payload begins with m, a or b: one m, then a, b, a, b, ... A is in force at
 * first. Prints a line at each change, and when its input ends: `end PAIRS BOTH NEITHER CHANGES MILLISECONDS`.
 */
#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <poll.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define FRAME_BYTES 60
#define PAIRS_MAX   4096
#define LOOK_EVERY  1024 /* pairs, then it is asked whether to go on */

struct pairs {
	uint8_t mark[FRAME_BYTES];
	uint8_t pair[PAIRS_MAX][2][FRAME_BYTES];
	size_t count;
	int wire, sink;
	unsigned int active; /* 0: A */
	uint64_t done, both, neither, changes;
};

/* A socket that was made in the namespace stays there. */
static int open_sink(const char *namespace, uint16_t port)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_port = htons(port) };
	int home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
	int away = open(namespace, O_RDONLY | O_CLOEXEC), fd = -1;
	struct timeval patience = { .tv_sec = 5 };

	if (home >= 0 && away >= 0 && !setns(away, CLONE_NEWNET))
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || setns(home, CLONE_NEWNET) || bind(fd, (struct sockaddr *)&at, sizeof(at)) ||
	    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience)))
		return -1;
	return fd;
}

static int open_wire(const char *device)
{
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(device) };
	int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);

	return fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to)) ? -1 : fd;
}

static int read_frames(struct pairs *p, const char *path)
{
	FILE *f = fopen(path, "re");
	int good = f && fread(p->mark, sizeof(p->mark), 1, f) == 1;

	if (good)
		p->count = fread(p->pair, sizeof(p->pair[0]), PAIRS_MAX, f);
	if (f)
		(void)fclose(f);
	return good && p->count ? 0 : -1;
}

static int send_pair(struct pairs *p)
{
	uint8_t(*pair)[FRAME_BYTES] = p->pair[p->done % p->count];
	struct iovec parts[] = { { pair[!p->active], FRAME_BYTES },
				 { pair[p->active], FRAME_BYTES },
				 { p->mark, FRAME_BYTES } };
	struct mmsghdr messages[3] = {};
	int sent = 0, n;

	for (int i = 0; i < 3; i++)
		messages[i].msg_hdr = (struct msghdr){ .msg_iov = &parts[i], .msg_iovlen = 1 };
	while (sent < 3) {
		n = sendmmsg(p->wire, messages + sent, (unsigned int)(3 - sent), 0);
		if (n <= 0)
			return -1;
		sent += n;
	}
	return 0;
}

/* Frames of one sender stay in order: with the mark, the pair is decided. */
static int judge_pair(struct pairs *p)
{
	bool passed[2] = {};
	char which = 0;

	while (which != 'm') {
		if (recv(p->sink, &which, 1, MSG_TRUNC) < 1)
			return -1;
		if (which == 'a' || which == 'b')
			passed[which - 'a'] = true;
	}
	p->done++;
	p->both += passed[0] && passed[1];
	p->neither += !passed[0] && !passed[1];
	if (passed[p->active] && !passed[!p->active])
		return 0;
	p->active = !p->active;
	p->changes++;
	(void)printf("%llu\n", (unsigned long long)p->changes);
	(void)fflush(stdout);
	return 0;
}

static uint64_t now_ms(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / 1000000;
}

static int run(struct pairs *p)
{
	struct pollfd input = { .fd = STDIN_FILENO, .events = POLLIN };
	uint64_t started = now_ms();

	while (p->done % LOOK_EVERY || !poll(&input, 1, 0)) {
		if (send_pair(p) || judge_pair(p)) {
			perror("pairs");
			return 1;
		}
	}
	(void)printf("end %llu %llu %llu %llu %llu\n", (unsigned long long)p->done,
		     (unsigned long long)p->both, (unsigned long long)p->neither,
		     (unsigned long long)p->changes, (unsigned long long)(now_ms() - started));
	return 0;
}

int main(int argc, char **argv)
{
	static struct pairs p;

	if (argc != 5) {
		(void)fprintf(stderr, "usage: pairs DEVICE NAMESPACE PORT FILE\n");
		return 2;
	}
	p.sink = open_sink(argv[2], (uint16_t)atoi(argv[3]));
	p.wire = open_wire(argv[1]);
	if (p.sink < 0 || p.wire < 0 || read_frames(&p, argv[4])) {
		perror("pairs");
		return 1;
	}
	return run(&p);
}
