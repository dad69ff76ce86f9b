/* SPDX-License-Identifier: Apache-2.0 */
/* See lab.h. */
#include "lab.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/if_packet.h>
#include <net/ethernet.h>
#include <net/if.h>
#include <netinet/ip.h>
#include <netinet/udp.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <time.h>

#include <bpf/bpf.h>

#include "counters.h"
#include "install.h"
#include "loader_pins.h"

#define CHAINS_END  32
#define FRAME_BYTES 60

int lab_enter(void **state)
{
	(void)state;
	if (unshare(CLONE_NEWNET | CLONE_NEWNS) < 0) {
		printf("# skipped: no namespaces here: %s\n", strerror(errno));
		exit(77);
	}
	if (mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
		return -1;
	while (umount2("/sys/fs/bpf", MNT_DETACH) == 0)
		continue;
	return system("ip link set lo up");
}

void lab_run(const char *format, ...)
{
	char command[512];
	va_list args;

	va_start(args, format);
	vsnprintf(command, sizeof(command), format, args);
	va_end(args);
	if (system(command) != 0)
		fail_msg("command failed: %s", command);
}

struct loader *lab_load(void)
{
	_cleanup_free_ char *why = NULL;
	struct loader *l = NULL;
	int r = loader_new(&l, LAB_PINS, LAB_FLOW_SLOTS, &why);

	if (r)
		fail_msg("loader_new: %s: %s", strerror(-r), why ? why : "no reason");
	return l;
}

void lab_wipe(void)
{
	pins_clear(LAB_PINS, PINS_LINKS);
	pins_clear(LAB_PINS, PINS_PROGS);
	pins_clear(LAB_PINS, PINS_MAPS);
}

void lab_reset(void)
{
	_cleanup_close_ int banks = pins_open(LAB_PINS, PINS_MAPS, "banks");
	_cleanup_close_ int ctl = pins_open(LAB_PINS, PINS_MAPS, "ctl");
	_cleanup_close_ int sets = pins_open(LAB_PINS, PINS_MAPS, "set_table");
	struct dp_ctl as_new = {}, old;
	uint32_t key = 0;

	pins_clear(LAB_PINS, PINS_LINKS);
	assert_int_equal(bpf_map_lookup_elem(ctl, &key, &old), 0);
	memcpy(as_new.hash_key, old.hash_key, sizeof(as_new.hash_key));
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "set_members"), 0);
	(void)bpf_map_delete_elem(sets, &key); /* may be empty */
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "bank-0"), 0);
	assert_int_equal(pins_remove(LAB_PINS, PINS_MAPS, "bank-1"), 0);
	assert_int_equal(bpf_map_update_elem(ctl, &key, &as_new, BPF_ANY), 0);
	for (; key < DP_BANKS; key++)
		(void)bpf_map_delete_elem(banks, &key); /* may be empty */
}

struct dp_line *lab_image(uint32_t lines, uint64_t generation, uint32_t fill)
{
	struct dp_line *image = calloc(lines, sizeof(*image));
	struct dp_bank_header *header = (void *)image;

	assert_non_null(image);
	assert_true(lines >= CHAINS_END);
	*header = (struct dp_bank_header){ .magic = DP_BANK_MAGIC,
					   .abi_version = DP_ABI_VERSION,
					   .generation = generation,
					   .lines = lines,
					   .zones = 6 };
	for (unsigned int zone = 1; zone <= 2; zone++) {
		for (unsigned int dir = 0; dir < DP_DIR_COUNT; dir++) {
			struct dp_chain *chain = (void *)&image[DP_CHAIN_LINE(zone, dir)];

			chain->flags = DP_CHAIN_PRESENT;
			chain->counter = LAB_CHAIN_COUNTER(zone, dir);
			chain->default_counter = 100 + chain->counter;
			chain->default_reason =
				zone == 1 ? DP_REASON_DEFAULT_DROP : DP_REASON_DEFAULT_PASS;
		}
	}
	for (uint32_t n = CHAINS_END; n < lines; n++) {
		for (unsigned int w = 0; w < DP_LINE_WORDS; w++)
			image[n].word[w] = fill;
	}
	return image;
}

void lab_policy(struct loader *l)
{
	_cleanup_free_ struct dp_line *image = lab_image(64, 1, 0);
	_cleanup_free_ char *why = NULL;
	struct install_result result;

	if (install_write(l, image, 64, &result, &why))
		fail_msg("install_write: %s", why);
	install_flip(l, result.bank, 0);
	assert_int_equal(install_settle(), 0);
}

void lab_veth(const char *name)
{
	/* No addresses, so that no neighbour discovery of the kernel gets into the counters. */
	lab_run("ip link add %s type veth peer name %s-p && "
		"ip link set %s addrgenmode none && ip link set %s-p addrgenmode none && "
		"ip link set %s up && ip link set %s-p up",
		name, name, name, name, name, name);
}

uint32_t lab_ifindex(const char *name)
{
	uint32_t ifindex = if_nametoindex(name);

	assert_int_not_equal(ifindex, 0);
	return ifindex;
}

struct netif_dev lab_dev(const char *name, const char *kind)
{
	struct netif_dev dev = { .ifindex = lab_ifindex(name), .up = true, .mtu = 1500 };

	snprintf(dev.name, sizeof(dev.name), "%s", name);
	snprintf(dev.kind, sizeof(dev.kind), "%s", kind);
	return dev;
}

static void fill_frame(uint8_t frame[FRAME_BYTES])
{
	struct ether_header eth = { .ether_dhost = { 2, 0, 0, 0, 0, 1 },
				    .ether_shost = { 2, 0, 0, 0, 0, 2 },
				    .ether_type = htons(ETHERTYPE_IP) };
	struct iphdr ip = { .version = 4,
			    .ihl = 5,
			    .tot_len = htons(FRAME_BYTES - sizeof(eth)),
			    .ttl = 64,
			    .protocol = IPPROTO_UDP,
			    .saddr = htonl(0xc0000201),
			    .daddr = htonl(0xc0000202) };
	struct udphdr udp = { .source = htons(1000),
			      .dest = htons(53),
			      .len = htons(FRAME_BYTES - sizeof(eth) - sizeof(ip)) };

	memset(frame, 0, FRAME_BYTES);
	memcpy(frame, &eth, sizeof(eth));
	memcpy(frame + sizeof(eth), &ip, sizeof(ip));
	memcpy(frame + sizeof(eth) + sizeof(ip), &udp, sizeof(udp));
}

/*
 * A device that has just come up drops what is sent until the kernel has given it a queue, a second later at most: when it
 * says that the device is up, under the lock that a request for the device waits for.
 */
static void wait_until_up(const char *name)
{
	lab_run("for i in $(seq 300); do ip -o link show dev %s | grep -q 'state UP' && break; sleep 0.01; done; "
		"ip -o link show dev %s | grep -q 'state UP'",
		name, name);
}

void lab_send(const char *name, enum dp_dir dir, unsigned int count)
{
	_cleanup_close_ int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0);
	struct sockaddr_ll to = { .sll_family = AF_PACKET, .sll_halen = ETH_ALEN };
	uint8_t frame[FRAME_BYTES];
	char peer[IF_NAMESIZE];

	assert_true(fd >= 0);
	snprintf(peer, sizeof(peer), "%s-p", name);
	to.sll_ifindex = (int)lab_ifindex(dir == DP_INGRESS ? peer : name);
	wait_until_up(dir == DP_INGRESS ? peer : name);
	fill_frame(frame);
	while (count--) /* a drop at egress is told to the sender */
		assert_true(sendto(fd, frame, sizeof(frame), 0, (struct sockaddr *)&to,
				   sizeof(to)) == sizeof(frame) ||
			    errno == ENOBUFS);
}

static uint64_t received(const struct loader *l, uint32_t slot)
{
	struct dp_chain_counters counters;

	assert_int_equal(counters_chain(l, slot, &counters), 0);
	return counters.received.packets;
}

uint64_t lab_received(const struct loader *l, uint32_t slot, uint64_t packets)
{
	const struct timespec tick = { .tv_nsec = 5 * 1000 * 1000 };

	for (unsigned int i = 0; i < 200 && received(l, slot) < packets; i++)
		nanosleep(&tick, NULL);
	return received(l, slot);
}

uint64_t lab_received_later(const struct loader *l, uint32_t slot)
{
	const struct timespec while_ = { .tv_nsec = 50 * 1000 * 1000 };

	nanosleep(&while_, NULL);
	return received(l, slot);
}
