/* A switch of ours between the hosts of a test and their bridge: it delays, jitters and reorders the packets of chosen links.
 *
 * usage: switch --seed N ADDRESS,INNER,OUTER...
 *
 * Each argument is a cable: what the host with that IPv4 address sends arrives at the interface INNER and goes on at OUTER,
 * and the other way round. Both are ends of veth pairs that nothing else forwards for (packets.py makes them).
 *
 * Commands on stdin, one a line; each is answered by one line when it is done ({} if there is nothing to say). Their end ends
 * the program, which sends at once what it still holds:
 *   link FROM TO DELAY_US JITTER_US PER_MILLE HOLD_US
 *                       packets of that directed pair of addresses take DELAY_US, and up to JITTER_US more, in the order in
 *                       which they came; PER_MILLE of 1000 are held back for HOLD_US more, so that others overtake them
 *   clear               no link is special any more; what is held still comes when it is due
 *   stats               prints {"passed":N,"delayed":N,"held":N,"dropped":N}, counted since the last time
 *
 * A link is decided where its sender's cable is, or at the receiver's cable if the sender has none: once. Which packets are
 * held and how long each takes follows from the seed and their number on that link. Everything but IPv4 passes at once.
 *
 * Frames are passed with what the kernel notes beside them (PACKET_VNET_HDR), so that checksums and segments which a card
 * would do survive. One thread, one poll. */
#include <arpa/inet.h>
#include <errno.h>
#include <inttypes.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/virtio_net.h>
#include <net/if.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define CABLES_MAX 16
#define LINKS_MAX 256
#define FRAME_MAX (sizeof(struct virtio_net_hdr) + 66000)
#define HELD_MAX 20000 /* frames; more are dropped, as a switch does */
#define BURST 64       /* frames of one interface before the others have their turn */

struct cable {
        uint32_t address; /* network byte order */
        int fd[2];        /* inner, outer */
};

struct link {
        uint32_t from, to;
        int64_t delay_ns, jitter_ns, hold_ns, last_due_ns;
        unsigned per_mille;
        uint64_t random_state;
};

struct held {
        int64_t due_ns;
        uint64_t number; /* of those due at the same time the first one first */
        int fd;
        size_t n;
        unsigned char *frame;
};

static struct cable cables[CABLES_MAX];
static struct link links[LINKS_MAX];
static struct held heap[HELD_MAX];
static unsigned cables_n, links_n, heap_n;
static uint64_t seed = 1, next_number, passed, delayed, held_back, dropped;
static bool ending;

static __attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...)
{
        va_list args;
        va_start(args, format);
        fputs("switch: ", stderr);
        vfprintf(stderr, format, args);
        fputc('\n', stderr);
        va_end(args);
        exit(2);
}

static int64_t now_ns(void)
{
        struct timespec t;
        clock_gettime(CLOCK_MONOTONIC, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static uint64_t random_u64(uint64_t *state)
{
        uint64_t z = *state += UINT64_C(0x9E3779B97F4A7C15);
        z = (z ^ z >> 30) * UINT64_C(0xBF58476D1CE4E5B9);
        z = (z ^ z >> 27) * UINT64_C(0x94D049BB133111EB);
        return z ^ z >> 31;
}

/* ---- what is held: a heap, the next one due first ---- */

static bool before(const struct held *a, const struct held *b)
{
        return a->due_ns != b->due_ns ? a->due_ns < b->due_ns : a->number < b->number;
}

static void heap_swap(unsigned a, unsigned b)
{
        struct held h = heap[a];
        heap[a] = heap[b];
        heap[b] = h;
}

static void heap_push(struct held h)
{
        unsigned at = heap_n++;
        heap[at] = h;
        for (; at > 0 && before(&heap[at], &heap[(at - 1) / 2]); at = (at - 1) / 2)
                heap_swap(at, (at - 1) / 2);
}

static struct held heap_pop(void)
{
        struct held first = heap[0];
        heap[0] = heap[--heap_n];
        for (unsigned at = 0;;) {
                unsigned least = at, left = 2 * at + 1;
                for (unsigned child = left; child < left + 2 && child < heap_n; child++)
                        if (before(&heap[child], &heap[least])) least = child;
                if (least == at) return first;
                heap_swap(at, least);
                at = least;
        }
}

/* ---- frames ---- */

static void frame_send(int fd, const unsigned char *frame, size_t n)
{
        if (send(fd, frame, n, MSG_DONTWAIT) < 0)
                dropped++; /* the cable is out, or the queue full: as on any wire */
        else passed++;
}

static void held_send(int64_t now)
{
        while (heap_n > 0 && (heap[0].due_ns <= now || ending)) {
                struct held h = heap_pop();
                frame_send(h.fd, h.frame, h.n);
                free(h.frame);
        }
}

static bool has_cable(uint32_t address)
{
        for (unsigned i = 0; i < cables_n; i++)
                if (cables[i].address == address) return true;
        return false;
}

/* The link that the frame is on, if it is special and is decided here; else NULL. */
static struct link *link_of(const unsigned char *frame, size_t n, bool outer)
{
        const unsigned char *ethernet = frame + sizeof(struct virtio_net_hdr), *ip = ethernet + ETH_HLEN;
        uint32_t from, to;
        if (links_n == 0 || n < sizeof(struct virtio_net_hdr) + ETH_HLEN + 20) return NULL;
        if (ethernet[12] != 0x08 || ethernet[13] != 0x00) return NULL; /* ETH_P_IP */
        memcpy(&from, ip + 12, 4);
        memcpy(&to, ip + 16, 4);
        if (outer && has_cable(from)) return NULL;
        for (unsigned i = 0; i < links_n; i++)
                if (links[i].from == from && links[i].to == to) return &links[i];
        return NULL;
}

static int64_t due_of(struct link *l, int64_t now)
{
        uint64_t jitter = random_u64(&l->random_state), dice = random_u64(&l->random_state) % 1000;
        int64_t due = now + l->delay_ns + (int64_t)(jitter % (uint64_t)(l->jitter_ns + 1));
        if (due < l->last_due_ns) due = l->last_due_ns;
        if (dice < l->per_mille) {
                held_back++;
                return due + l->hold_ns;
        }
        return l->last_due_ns = due;
}

static void frame_take(struct cable *c, int side, const unsigned char *frame, size_t n)
{
        struct link *l = link_of(frame, n, side == 1);
        if (!l) {
                frame_send(c->fd[!side], frame, n);
                return;
        }
        int64_t due = due_of(l, now_ns());
        struct held h = { .due_ns = due, .number = next_number++, .fd = c->fd[!side], .n = n };
        h.frame = heap_n < HELD_MAX ? malloc(n) : NULL;
        if (!h.frame) {
                dropped++;
                return;
        }
        memcpy(h.frame, frame, n);
        delayed++;
        heap_push(h);
}

static void frames_read(struct cable *c, int side)
{
        static unsigned char frame[FRAME_MAX];
        for (unsigned i = 0; i < BURST; i++) {
                ssize_t n = recv(c->fd[side], frame, sizeof frame, MSG_DONTWAIT | MSG_TRUNC);
                if (n < 0) return; /* nothing more; ENETDOWN: the cable is out, and may be plugged in again */
                if ((size_t)n > sizeof frame) {
                        dropped++;
                        continue;
                }
                frame[0] &= VIRTIO_NET_HDR_F_NEEDS_CSUM; /* flags: the others are not for senders */
                frame_take(c, side, frame, (size_t)n);
        }
}

/* ---- commands ---- */

static void link_command(const char *text)
{
        char from[64], to[64];
        uint64_t delay, jitter, hold;
        struct link l = { .last_due_ns = 0 };
        if (sscanf(text, "link %63s %63s %" SCNu64 " %" SCNu64 " %u %" SCNu64, from, to, &delay, &jitter,
                    &l.per_mille, &hold) != 6 ||
                inet_pton(AF_INET, from, &l.from) != 1 || inet_pton(AF_INET, to, &l.to) != 1 ||
                delay > 60000000 || jitter > 60000000 || hold > 60000000)
                die("bad: %s", text);
        l.delay_ns = (int64_t)delay * 1000;
        l.jitter_ns = (int64_t)jitter * 1000;
        l.hold_ns = (int64_t)hold * 1000;
        l.random_state = seed ^ ((uint64_t)l.from << 32 | l.to);
        unsigned at = 0;
        while (at < links_n && (links[at].from != l.from || links[at].to != l.to)) at++;
        if (at == LINKS_MAX) die("more than %d links", LINKS_MAX);
        if (at == links_n) links_n++;
        links[at] = l;
}

static void command(const char *line)
{
        if (strncmp(line, "link ", 5) == 0) {
                link_command(line);
                puts("{}");
        } else if (strcmp(line, "clear") == 0) {
                links_n = 0;
                puts("{}");
        } else if (strcmp(line, "stats") == 0) {
                printf("{\"passed\":%" PRIu64 ",\"delayed\":%" PRIu64 ",\"held\":%" PRIu64
                       ",\"dropped\":%" PRIu64 "}\n",
                        passed, delayed, held_back, dropped);
                passed = delayed = held_back = dropped = 0;
        } else die("no such command: %s", line);
        fflush(stdout);
}

static void commands_read(void)
{
        static char line[4096];
        static size_t n;
        ssize_t got = read(0, line + n, sizeof line - 1 - n);
        if (got <= 0) {
                ending = true;
                return;
        }
        n += (size_t)got;
        line[n] = '\0';
        for (char *end; (end = strchr(line, '\n')) != NULL;) {
                *end = '\0';
                command(line);
                n = strlen(end + 1);
                memmove(line, end + 1, n + 1);
        }
        if (n == sizeof line - 1) die("a line is too long");
}

/* ---- start ---- */

static int interface_open(const char *name)
{
        int one = 1, room = 8 << 20; /* frames that come while this program does not run are not lost */
        struct sockaddr_ll a = { .sll_family = AF_PACKET,
                .sll_protocol = htons(ETH_P_ALL),
                .sll_ifindex = (int)if_nametoindex(name) };
        struct packet_mreq all = { .mr_ifindex = a.sll_ifindex, .mr_type = PACKET_MR_PROMISC };
        if (a.sll_ifindex == 0) die("%s: %s", name, strerror(errno));
        int fd = socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); /* protocol 0: nothing arrives before bind */
        if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0 ||
                setsockopt(fd, SOL_PACKET, PACKET_VNET_HDR, &one, sizeof one) != 0 ||
                setsockopt(fd, SOL_PACKET, PACKET_IGNORE_OUTGOING, &one, sizeof one) != 0 ||
                setsockopt(fd, SOL_PACKET, PACKET_ADD_MEMBERSHIP, &all, sizeof all) != 0 ||
                bind(fd, (struct sockaddr *)&a, sizeof a) != 0)
                die("%s: %s", name, strerror(errno));
        return fd;
}

static void cable_add(char *text)
{
        char *inner = strchr(text, ','), *outer = inner ? strchr(inner + 1, ',') : NULL;
        if (!outer || cables_n == CABLES_MAX) die("bad: %s", text);
        *inner++ = *outer++ = '\0';
        struct cable *c = &cables[cables_n++];
        if (inet_pton(AF_INET, text, &c->address) != 1) die("not an address: %s", text);
        c->fd[0] = interface_open(inner);
        c->fd[1] = interface_open(outer);
}

static void run(void)
{
        struct pollfd polled[1 + 2 * CABLES_MAX] = { { .fd = 0, .events = POLLIN } };
        for (unsigned i = 0; i < 2 * cables_n; i++)
                polled[1 + i] = (struct pollfd){ .fd = cables[i / 2].fd[i % 2], .events = POLLIN };
        while (!ending) {
                int64_t wait = heap_n > 0 ? heap[0].due_ns - now_ns() : -1;
                struct timespec t = { .tv_sec = wait > 0 ? wait / 1000000000 : 0,
                        .tv_nsec = wait > 0 ? wait % 1000000000 : 0 };
                if (ppoll(polled, 1 + 2 * cables_n, heap_n > 0 ? &t : NULL, NULL) < 0 && errno != EINTR)
                        die("poll: %s", strerror(errno));
                held_send(now_ns());
                for (unsigned i = 0; i < 2 * cables_n; i++)
                        if (polled[1 + i].revents) frames_read(&cables[i / 2], (int)(i % 2));
                if (polled[0].revents) commands_read();
        }
        held_send(now_ns());
}

int main(int argc, char **argv)
{
        for (int i = 1; i < argc; i++) {
                if (strcmp(argv[i], "--seed") == 0 && i + 1 < argc) seed = strtoull(argv[++i], NULL, 10);
                else cable_add(argv[i]);
        }
        if (cables_n == 0) die("usage: switch --seed N ADDRESS,INNER,OUTER...");
        run();
        return 0;
}
