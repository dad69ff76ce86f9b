/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sends minimal UDP frames with random IPv4 sources out of one device, as an attacker would: no address
 * of its own, no stack. Bounded in frames and time; prints what it sent.
 *   flood DEVICE DESTINATION-MAC DESTINATION-IP COUNT SECONDS
 */
#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BATCH       64
#define FRAME_BYTES 60

struct flood_frame {
	struct ethhdr eth;
	struct iphdr ip;
	struct udphdr udp;
	uint8_t pad[FRAME_BYTES - sizeof(struct ethhdr) - sizeof(struct iphdr) -
		    sizeof(struct udphdr)];
} __attribute__((packed));
_Static_assert(sizeof(struct flood_frame) == FRAME_BYTES, "a minimal frame");

static uint64_t random_state;

static uint32_t random32(void)
{
	random_state ^= random_state << 13;
	random_state ^= random_state >> 7;
	random_state ^= random_state << 17;
	return (uint32_t)(random_state >> 16);
}

static uint16_t checksum(const void *data, size_t len)
{
	const uint8_t *at = data;
	uint32_t sum = 0;

	for (size_t i = 0; i + 1 < len; i += 2)
		sum += (uint32_t)at[i] << 8 | at[i + 1];
	while (sum >> 16)
		sum = (sum & 0xffff) + (sum >> 16);
	return htons((uint16_t)~sum);
}

static void make_frame(struct flood_frame *f, const uint8_t mac[6], struct in_addr to)
{
	*f = (struct flood_frame){
		.eth = { .h_source = { 2, 0, 0, 0, 0, 0x66 }, .h_proto = htons(ETH_P_IP) },
		.ip = { .version = 4,
			.ihl = 5,
			.ttl = 64,
			.protocol = IPPROTO_UDP,
			.tot_len = htons(FRAME_BYTES - sizeof(struct ethhdr)),
			.daddr = to.s_addr },
		.udp = { .dest = htons(9), .len = htons(sizeof(struct udphdr) + sizeof(f->pad)) },
	};
	memcpy(f->eth.h_dest, mac, 6);
}

static void spoof(struct flood_frame *f)
{
	f->ip.saddr = htonl(random32());
	f->udp.source = htons((uint16_t)random32());
	f->ip.check = 0;
	f->ip.check = checksum(&f->ip, sizeof(f->ip));
}

static uint64_t send_all(int fd, struct flood_frame frames[BATCH], uint64_t count, time_t seconds)
{
	struct mmsghdr messages[BATCH] = {};
	struct iovec parts[BATCH];
	time_t end = time(NULL) + seconds;
	uint64_t sent = 0;

	for (int i = 0; i < BATCH; i++) {
		parts[i] = (struct iovec){ &frames[i], sizeof(frames[i]) };
		messages[i].msg_hdr.msg_iov = &parts[i];
		messages[i].msg_hdr.msg_iovlen = 1;
	}
	while (sent < count && time(NULL) < end) {
		unsigned int batch = count - sent < BATCH ? (unsigned int)(count - sent) : BATCH;
		int done;

		for (unsigned int i = 0; i < batch; i++)
			spoof(&frames[i]);
		done = sendmmsg(fd, messages, batch, 0);
		if (done < 0 && errno != ENOBUFS && errno != EAGAIN && errno != EINTR)
			break;
		sent += done > 0 ? (uint64_t)done : 0;
	}
	return sent;
}

int main(int argc, char **argv)
{
	static struct flood_frame frames[BATCH];
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_protocol = htons(ETH_P_IP) };
	struct in_addr ip;
	uint8_t mac[6];
	int fd;

	if (argc != 6 || inet_pton(AF_INET, argv[3], &ip) != 1 ||
	    sscanf(argv[2], "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3],
		   &mac[4], &mac[5]) != 6) {
		(void)fprintf(stderr,
			      "usage: flood DEVICE DESTINATION-MAC DESTINATION-IP COUNT SECONDS\n");
		return 2;
	}
	to.sll_ifindex = (int)if_nametoindex(argv[1]);
	random_state = (uint64_t)time(NULL) << 16 | 1;
	for (int i = 0; i < BATCH; i++)
		make_frame(&frames[i], mac, ip);
	fd = socket(AF_PACKET, SOCK_RAW, 0);
	if (fd < 0 || bind(fd, (struct sockaddr *)&to, sizeof(to))) {
		perror("flood");
		return 1;
	}
	(void)printf("%llu\n", (unsigned long long)send_all(fd, frames, strtoull(argv[4], NULL, 10),
							    atol(argv[5])));
	(void)close(fd);
	return 0;
}
