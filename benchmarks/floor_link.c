/*
 * The floor's network: a veth of a pod, by rtnetlink, in the messages that sandbox/linux/network_rtnl.py sends.
 *
 * The addresses are of the prefixes for benchmarks (RFC 2544, RFC 5180), and the bridge has none: the host's routes stay
 * as they are.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stdio.h>
#include <sys/ioctl.h>

#include "floor.h"

#define ROOM 4096

struct request {
	size_t length;
	char data[ROOM] __attribute__((aligned(NLMSG_ALIGNTO)));
	struct nlmsghdr *last;		/* of the messages in it, the one that is being written */
	int messages;
};

static void *grow(struct request *request, size_t bytes)
{
	void *at = request->data + request->length;

	if (request->length + NLMSG_ALIGN(bytes) > ROOM) {
		errno = EMSGSIZE;
		die("rtnetlink");
	}
	memset(at, 0, NLMSG_ALIGN(bytes));
	request->length += NLMSG_ALIGN(bytes);
	if (request->last)
		request->last->nlmsg_len = (uint32_t)(request->data + request->length - (char *)request->last);
	return at;
}

/* Begin a message; its body is returned. */
static void *begin(struct request *request, uint16_t type, uint16_t flags, size_t body)
{
	struct nlmsghdr *header;

	request->last = NULL;
	header = grow(request, sizeof *header);
	header->nlmsg_type = type;
	header->nlmsg_flags = (uint16_t)(NLM_F_REQUEST | NLM_F_ACK | flags);
	request->last = header;
	request->messages++;
	return grow(request, body);
}

static struct rtattr *attribute(struct request *request, uint16_t type, const void *value, size_t size)
{
	struct rtattr *made = grow(request, RTA_LENGTH(size));

	made->rta_type = type;
	made->rta_len = (uint16_t)RTA_LENGTH(size);
	if (value)
		memcpy(RTA_DATA(made), value, size);
	return made;
}

static void text(struct request *request, uint16_t type, const char *value)
{
	attribute(request, type, value, strlen(value) + 1);
}

static void number(struct request *request, uint16_t type, uint32_t value)
{
	attribute(request, type, &value, sizeof value);
}

static void end(struct request *request, struct rtattr *nest)
{
	nest->rta_len = (uint16_t)(request->data + request->length - (char *)nest);
}

static int rtnetlink(void)
{
	struct sockaddr_nl own = { .nl_family = AF_NETLINK };
	int fd = must(socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE), "rtnetlink"), one = 1;

	must(setsockopt(fd, SOL_NETLINK, NETLINK_CAP_ACK, &one, sizeof one), "rtnetlink");
	must(bind(fd, (struct sockaddr *)&own, sizeof own), "rtnetlink");
	return fd;
}

/* Send all messages in one, and see each acknowledged. */
static void ask(int fd, struct request *request, const char *step, int fine)
{
	char answer[1024];

	must((int)send(fd, request->data, request->length, 0), step);
	for (int i = 0; i < request->messages; i++) {
		const struct nlmsghdr *header = (void *)answer;

		must((int)recv(fd, answer, sizeof answer, 0), step);
		errno = -((const struct nlmsgerr *)NLMSG_DATA(header))->error;
		if (errno && errno != fine)
			die(step);
	}
}

static void once(struct request *request, const char *step, int fine)
{
	int fd = rtnetlink();

	ask(fd, request, step, fine);
	close(fd);
}

void make_bridge(const char *name)
{
	struct request request = { 0 };
	struct ifinfomsg *info = begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof *info);
	struct rtattr *link;

	info->ifi_flags = info->ifi_change = IFF_UP;
	text(&request, IFLA_IFNAME, name);
	attribute(&request, IFLA_ADDRESS, "\x02\x5e\x00\x00\x00\x01", 6);	/* or each port would change it */
	link = attribute(&request, IFLA_LINKINFO, NULL, 0);
	text(&request, IFLA_INFO_KIND, "bridge");
	end(&request, link);
	once(&request, "bridge", 0);
}

void delete_link(const char *name)
{
	struct request request = { 0 };

	begin(&request, RTM_DELLINK, 0, sizeof(struct ifinfomsg));
	text(&request, IFLA_IFNAME, name);
	once(&request, "delete link", ENODEV);
}

static void new_veth(struct request *request, const char *name, unsigned int bridge, int netns)
{
	struct rtattr *link, *data, *peer;

	begin(request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, sizeof(struct ifinfomsg));
	text(request, IFLA_IFNAME, name);
	number(request, IFLA_MTU, 1500);
	number(request, IFLA_MASTER, bridge);
	link = attribute(request, IFLA_LINKINFO, NULL, 0);
	text(request, IFLA_INFO_KIND, "veth");
	data = attribute(request, IFLA_INFO_DATA, NULL, 0);
	peer = attribute(request, VETH_INFO_PEER, NULL, sizeof(struct ifinfomsg));
	text(request, IFLA_IFNAME, "eth0");
	attribute(request, IFLA_ADDRESS, "\x02\x5e\x00\x00\x00\x02", 6);
	number(request, IFLA_MTU, 1500);
	number(request, IFLA_NET_NS_FD, (uint32_t)netns);
	end(request, peer);
	end(request, data);
	end(request, link);
}

/* Bring the host's end up, with an alias, hairpin mode, and no IPv6 address of its own. */
static void settle(struct request *request, const char *name)
{
	struct ifinfomsg *info = begin(request, RTM_NEWLINK, 0, sizeof *info);
	struct rtattr *link, *data, *families, *inet6;

	info->ifi_flags = info->ifi_change = IFF_UP;
	text(request, IFLA_IFNAME, name);
	text(request, IFLA_IFALIAS, "pod default/floor");
	link = attribute(request, IFLA_LINKINFO, NULL, 0);
	text(request, IFLA_INFO_SLAVE_KIND, "bridge");
	data = attribute(request, IFLA_INFO_SLAVE_DATA, NULL, 0);
	attribute(request, IFLA_BRPORT_MODE, "\0", 1);
	end(request, data);
	end(request, link);
	families = attribute(request, IFLA_AF_SPEC, NULL, 0);
	inet6 = attribute(request, AF_INET6, NULL, 0);
	attribute(request, IFLA_INET6_ADDR_GEN_MODE, "\x01", 1);
	end(request, inet6);
	end(request, families);
}

static size_t packed(unsigned char family, const char *address, unsigned char *into)
{
	inet_pton(family, address, into);
	return family == AF_INET ? 4 : 16;
}

static void new_address(struct request *request, unsigned int index, unsigned char family, const char *address)
{
	struct ifaddrmsg *about = begin(request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, sizeof *about);
	unsigned char bytes[16];
	size_t size = packed(family, address, bytes);

	about->ifa_family = family;
	about->ifa_prefixlen = family == AF_INET ? 24 : 64;
	about->ifa_flags = family == AF_INET ? 0 : IFA_F_NODAD;
	about->ifa_index = index;
	attribute(request, IFA_LOCAL, bytes, size);
	attribute(request, IFA_ADDRESS, bytes, size);
}

static void new_default_route(struct request *request, unsigned char family, const char *gateway)
{
	struct rtmsg *route = begin(request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, sizeof *route);
	unsigned char bytes[16];
	size_t size = packed(family, gateway, bytes);

	route->rtm_family = family;
	route->rtm_table = RT_TABLE_MAIN;
	route->rtm_protocol = RTPROT_STATIC;
	route->rtm_type = RTN_UNICAST;
	attribute(request, RTA_GATEWAY, bytes, size);
}

static void configure(void)
{
	struct request request = { 0 };
	struct ifinfomsg *info;
	unsigned int index = if_nametoindex("eth0");
	int fd = must(open("/proc/sys/net/ipv6/conf/eth0/accept_ra", O_WRONLY | O_CLOEXEC), "accept_ra");

	must((int)write(fd, "0", 1), "accept_ra");
	close(fd);
	info = begin(&request, RTM_SETLINK, 0, sizeof *info);
	info->ifi_index = (int)index;
	info->ifi_flags = info->ifi_change = IFF_UP;
	new_address(&request, index, AF_INET, "198.18.0.2");
	new_address(&request, index, AF_INET6, "2001:2::2");
	new_default_route(&request, AF_INET, "198.18.0.1");
	new_default_route(&request, AF_INET6, "2001:2::1");
	once(&request, "configure eth0", 0);
}

/* A veth between the bridge and the network namespace of that process, up and with addresses and routes. */
void make_link(const char *name, const char *bridge, int pidfd)
{
	struct request request = { 0 };
	int home = must(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "own netns"), own = rtnetlink(), netns;
	unsigned int master = if_nametoindex(bridge);

	must(setns(pidfd, CLONE_NEWNET), "setns");
	netns = must(open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC), "netns");
	new_veth(&request, name, master, netns);
	settle(&request, name);
	ask(own, &request, "veth", 0);	/* by a socket of the host's namespace */
	configure();
	must(setns(home, CLONE_NEWNET), "setns");
	close(netns);
	close(home);
	close(own);
}

void loopback_up(void)
{
	struct ifreq link = { .ifr_name = "lo" };
	int fd = must(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket");

	must(ioctl(fd, SIOCGIFFLAGS, &link), "lo");
	link.ifr_flags |= IFF_UP;
	must(ioctl(fd, SIOCSIFFLAGS, &link), "lo");
	close(fd);
}
