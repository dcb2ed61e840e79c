/*
 * linkem - a TCP proxy that behaves like one long link.
 *
 * Each direction is a link of --rate shared by all connections, served round robin in small quanta.  A byte read
 * from a sender is booked on the link's virtual clock, waits --rtt/2 in a delay line, and is then written to the receiver;
 * --rtt/2 later its acknowledgement opens the sender's window again.  The window is what TCP has: it begins at ten
 * segments, doubles each round trip while it is what limits the sender, and stops at --window.  A sender beyond its window
 * or beyond its share is simply not read, so that its own socket buffer pushes back.  A new connection pays its handshake.
 *
 * With --queue fifo there is no share: what the windows allow goes into one queue in the order in which it comes, and what does
 * not fit into its --buffer is lost.  With --loss so many of each hundred packets are lost anyway.  A lost packet is sent
 * again: it and what its connection sent behind it arrive a round trip later, or as late as a timer is, 200 ms at least, when
 * too little came behind it to be missed at once; and the window is halved, after which it grows by a segment each round trip.
 *
 * One thread, edge-triggered epoll, nanosecond timeouts.  Memory per connection: one window each way, touched only as
 * far as it is used.  SIGTERM ends it and prints what was carried.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <inttypes.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define MSEC 1000000LL
#define USEC 1000LL
#define NEVER INT64_MAX

enum {
    INITIAL_WINDOW = 14600,        /* ten segments */
    SEGMENT = 1460,                /* a smaller opening of the window is not used */
    QUANTUM = 16 * 1024,           /* a connection's turn when others wait, also the grain of arrival times; less on a */
                                   /* thin link, where it is a millisecond's, and when it is alone more */
    TURNS_ALONE = 4,
    QUANTUM_UNLIMITED = 256 * 1024, /* its turn without --rate */
    SEGMENTS_MAX = 1 << 16,        /* entries of a delay line */
    CONNECTIONS_MAX = 1024,
    EVENTS_MAX = 64,
    BULK = 128 * 1024,             /* more than this in the delay line */
    RING_INITIAL = 1 << 20,
    WINDOW_FAT = 32 << 20,         /* what a window may grow to, */
    WINDOW_THIN_MIN = 256 << 10,   /* and on a thin link, where it is two of what the link holds */
    WINDOW_THIN_MAX = 4 << 20,
    BUFFER_MIN = 256 << 10,        /* of a FIFO, which has two of what the link holds too */
    MISSED_AT_ONCE = 3 * SEGMENT,  /* so much behind a lost packet tells the sender */
};
#define THIN 200e6               /* bits a second */
#define HORIZON (1 * MSEC)       /* how far ahead the link is booked: fairness against wake-ups */
#define LATE_MAX (20 * MSEC)     /* how much booking time a late wake-up may catch up on */
#define GATHER_BULK (400 * USEC) /* deliveries of a flow with much to come are made together, */
#define GATHER (20 * USEC)       /* of others hardly */
#define EARLY_MAX (150 * USEC)
#define NAP (150 * USEC)         /* while a link is full, events may wait this long */
#define IDLE_RESTART (200 * MSEC)
#define TIMER_MIN (200 * MSEC)   /* of a retransmission */

struct entry {
    int64_t when;
    uint32_t bytes;
};

/* A FIFO of (time, bytes), times ascending. */
struct queue {
    struct entry *entry;
    uint32_t head, count, room;
};

enum ending { OPEN, FIN, RST };

struct connection;

/* One direction of one connection. */
struct flow {
    struct connection *connection;
    struct flow *reverse;
    struct link *link;
    int from, to;
    uint8_t *ring;            /* NULL until the first byte */
    size_t room;              /* bytes of the ring in use: doubled when needed, so that few pages are touched */
    size_t head, used;        /* bytes in the delay line: ring[head .. head + used), modulo room */
    struct queue line;        /* when those bytes arrive */
    struct queue acks;        /* when delivered bytes are acknowledged */
    size_t due;               /* bytes of `used` that have arrived and wait for the receiver */
    size_t unacked, window;
    size_t threshold;         /* a window beyond it grows slowly; SIZE_MAX until something was lost */
    int64_t held_until;       /* nothing arrives before: what was lost is on its way again */
    int64_t recovering_until; /* what is lost before belongs to the same trouble */
    uint64_t packets, serial; /* how many were sent, of which flow: whether one is lost depends on just that */
    size_t peak, peak_before; /* the most unacked bytes in this round trip and in the last one */
    int64_t peak_until;
    int64_t gate;             /* nothing leaves before */
    int64_t last_sent, last_delivered;
    int64_t ending_at;        /* when the FIN or RST arrives */
    enum ending ending;       /* what the sender did */
    bool readable, writable;
    bool sink_dead, done;
};

struct connection {
    struct flow up, down;     /* client to server, server to client */
    bool connecting, dead;
};

struct link {
    int64_t free_at;          /* the virtual clock */
    bool backlogged;          /* the last turn ended for lack of link, not of data */
    uint32_t turn;            /* round robin */
    uint64_t carried;
};

static struct {
    int64_t half, rtt;
    int64_t early;            /* how long this machine takes to wake us: the delays are shortened by it */
    double ns_per_byte;       /* 0: no limit */
    size_t window_max, window_initial, quantum;
    bool idle_restart, fifo;
    size_t buffer;
    uint64_t lose_below;      /* of 2^32 */
    uint64_t seed, lost;
    struct sockaddr_in target;
    int epoll, listener, signals;
    struct link up, down;
    struct connection *connection[CONNECTIONS_MAX];
    uint32_t count;
    uint64_t accepted;
} em;

static void die(const char *what)
{
    fprintf(stderr, "linkem: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int64_t now_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000LL + t.tv_nsec;
}

static int64_t min64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static int64_t max64(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* ---- the FIFO ---- */

static void queue_grow(struct queue *q)
{
    uint32_t room = q->room ? q->room * 2 : 64;
    struct entry *entry = malloc(room * sizeof *entry);
    if (!entry)
        die("memory");
    for (uint32_t i = 0; i < q->count; i++)
        entry[i] = q->entry[(q->head + i) & (q->room - 1)];
    free(q->entry);
    q->entry = entry;
    q->room = room;
    q->head = 0;
}

static void queue_push(struct queue *q, int64_t when, size_t bytes, int64_t merge)
{
    if (q->count) {
        struct entry *last = &q->entry[(q->head + q->count - 1) & (q->room - 1)];
        if (when - last->when <= merge && last->bytes + bytes <= UINT32_MAX) {
            last->bytes += bytes;
            last->when = when;
            return;
        }
    }
    if (q->count == q->room)
        queue_grow(q);
    q->entry[(q->head + q->count++) & (q->room - 1)] = (struct entry){when, (uint32_t)bytes};
}

static int64_t queue_next(const struct queue *q)
{
    return q->count ? q->entry[q->head].when : NEVER;
}

static size_t queue_pop(struct queue *q)
{
    size_t bytes = q->entry[q->head].bytes;
    q->head = (q->head + 1) & (q->room - 1);
    q->count--;
    return bytes;
}

/* ---- one flow ---- */

static void flow_init(struct flow *f, struct connection *c, struct flow *reverse, struct link *link, int from, int to)
{
    *f = (struct flow){.connection = c, .reverse = reverse, .link = link, .from = from, .to = to};
    f->window = em.window_initial;
    f->threshold = SIZE_MAX;
    f->serial = em.accepted * 2 + (link == &em.down);
    f->readable = true;
}

static size_t ring_limit(void)
{
    size_t limit = RING_INITIAL;
    while (limit < em.window_max)
        limit *= 2;
    return limit;
}

static void flow_free(struct flow *f)
{
    if (f->ring)
        munmap(f->ring, ring_limit());
    free(f->line.entry);
    free(f->acks.entry);
}

static void flow_end(struct flow *f, enum ending ending, int64_t now)
{
    if (f->ending == RST || (f->ending == FIN && ending == FIN))
        return;
    f->ending = ending;
    f->ending_at = max64(max64(now, f->used > f->due ? f->link->free_at : now) + em.half, f->held_until);
    f->readable = false;
}

/* The two pieces of the ring that begin `skip` bytes after its head and hold `length`. */
static int ring_pieces(struct flow *f, size_t skip, size_t length, struct iovec iov[2])
{
    size_t at = (f->head + skip) & (f->room - 1);
    size_t first = length < f->room - at ? length : f->room - at;
    iov[0] = (struct iovec){f->ring + at, first};
    iov[1] = (struct iovec){f->ring, length - first};
    return length > first ? 2 : 1;
}

static bool flow_ready(const struct flow *f, int64_t now)
{
    return f->readable && !f->connection->connecting && now + em.early >= f->gate && f->line.count < SEGMENTS_MAX &&
           f->unacked + SEGMENT <= f->window;
}

static void flow_map(struct flow *f)
{
    f->room = RING_INITIAL;
    f->ring = mmap(NULL, ring_limit(), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (f->ring == MAP_FAILED)
        die("memory");
}

static void flow_make_room(struct flow *f, size_t bytes)
{
    while (f->used + bytes > f->room) {
        if (f->head + f->used > f->room)
            memcpy(f->ring + f->room, f->ring, f->head + f->used - f->room);
        f->room *= 2;
    }
}

static void flow_peak(struct flow *f, int64_t now)
{
    if (now >= f->peak_until) {
        f->peak_before = f->peak;
        f->peak = 0;
        f->peak_until = now + em.rtt;
    }
    if (f->unacked > f->peak)
        f->peak = f->unacked;
}

/* ---- loss ---- */

static uint64_t mix(uint64_t x)
{
    x = (x + 1) * 0x9e3779b97f4a7c15u;
    x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9u;
    x = (x ^ (x >> 27)) * 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

/* Of the next `bytes`, at how many the first lost packet begins; SIZE_MAX: none is lost. */
static size_t flow_first_lost(struct flow *f, size_t bytes)
{
    size_t lost = SIZE_MAX;
    for (size_t at = 0; em.lose_below && at < bytes; at += SEGMENT)
        if ((mix(mix(mix(em.seed) + f->serial) + f->packets++) >> 32) < em.lose_below && lost == SIZE_MAX)
            lost = at;
    return lost;
}

static size_t flow_waiting(const struct flow *f)
{
    int waiting = 0;
    return ioctl(f->from, FIONREAD, &waiting) == 0 && waiting > 0 ? (size_t)waiting : 0;
}

/* A packet that would have arrived at `arrival` is lost, with `behind` bytes behind it. */
static void flow_lose(struct flow *f, int64_t arrival, size_t behind)
{
    int64_t again = arrival + (behind >= MISSED_AT_ONCE ? em.rtt : max64(em.rtt, TIMER_MIN));
    em.lost++;
    f->held_until = max64(f->held_until, again);
    if (arrival < f->recovering_until)
        return;
    f->recovering_until = again;
    f->window = f->window / 2 > 2 * SEGMENT ? f->window / 2 : 2 * SEGMENT;
    f->threshold = f->window;
}

/* A window that is used grows. */
static void flow_grow(struct flow *f, size_t bytes)
{
    if ((f->peak > f->peak_before ? f->peak : f->peak_before) * 2 <= f->window)
        return;
    size_t more = f->window < f->threshold ? bytes : (size_t)((double)bytes * SEGMENT / (double)f->window) + 1;
    f->window = f->window + more < em.window_max ? f->window + more : em.window_max;
}

/* ---- booking ---- */

/* When a grain that has left at `left` arrives. */
static int64_t flow_arrival(struct flow *f, int64_t left)
{
    return max64(left + em.half, f->held_until);
}

/* Put `bytes` on the link's clock, in grains, so that each grain arrives at its own time. */
static void flow_book(struct flow *f, size_t bytes, int64_t now)
{
    struct link *l = f->link;
    size_t lost = flow_first_lost(f, bytes);
    l->carried += bytes;
    int64_t start = l->backlogged ? max64(l->free_at, now - LATE_MAX) : max64(l->free_at, now);
    for (size_t at = 0; at < bytes;) {
        size_t grain = bytes - at;
        if (em.ns_per_byte > 0 && grain > em.quantum)
            grain = em.quantum;
        if (lost > at && lost < at + grain)
            grain = lost - at;
        start += (int64_t)((double)grain * em.ns_per_byte);
        if (lost == at)
            flow_lose(f, start + em.half, bytes - at - 1 + flow_waiting(f));
        queue_push(&f->line, flow_arrival(f, start), grain, em.half ? 10 * USEC : 0);
        at += grain;
    }
    l->free_at = start;
}

/* One turn of a sender: false when it had nothing to send. */
static bool flow_take(struct flow *f, size_t quantum, int64_t now)
{
    if (!f->ring)
        flow_map(f);
    if (f->used == 0)
        f->head = 0;              /* stay on pages that are already touched */
    if (em.idle_restart && f->unacked == 0 && now - f->last_sent > em.rtt + IDLE_RESTART)
        f->window = em.window_initial;
    size_t length = f->window - f->unacked < quantum ? f->window - f->unacked : quantum;
    struct iovec iov[2];
    flow_make_room(f, length);
    int pieces = ring_pieces(f, f->used, length, iov);
    ssize_t got = readv(f->from, iov, pieces);
    if (got > 0) {
        f->used += (size_t)got;
        f->unacked += (size_t)got;
        f->last_sent = now;
        flow_peak(f, now);
        flow_book(f, (size_t)got, now);
        return true;
    }
    if (got < 0 && errno == EINTR)
        return true;
    f->readable = false;
    if (got == 0)
        flow_end(f, FIN, now);
    else if (errno != EAGAIN)
        flow_end(f, RST, now);
    return false;
}

static void flow_acknowledge(struct flow *f, int64_t now)
{
    while (queue_next(&f->acks) <= now + em.early) {
        size_t bytes = queue_pop(&f->acks);
        flow_grow(f, bytes);
        f->unacked -= bytes;
    }
}

static void flow_drop(struct flow *f, int64_t now)
{
    f->sink_dead = true;
    flow_end(f->reverse, RST, now);
}

static void flow_delivered(struct flow *f, size_t bytes, int64_t now)
{
    f->head = (f->head + bytes) & (f->room - 1);
    f->used -= bytes;
    f->due -= bytes;
    f->last_delivered = now;
    if (em.half)
        queue_push(&f->acks, now + em.half, bytes, 20 * USEC);
    else
        queue_push(&f->acks, now, bytes, MSEC);
}

static void flow_deliver(struct flow *f, int64_t now)
{
    while (queue_next(&f->line) <= now + em.early)
        f->due += queue_pop(&f->line);
    if (f->sink_dead && f->due)
        flow_delivered(f, f->due, now);
    while (f->due && f->writable) {
        struct iovec iov[2];
        int pieces = ring_pieces(f, 0, f->due, iov);
        struct msghdr message = {.msg_iov = iov, .msg_iovlen = (size_t)pieces};
        ssize_t put = sendmsg(f->to, &message, MSG_NOSIGNAL);
        if (put > 0)
            flow_delivered(f, (size_t)put, now);
        else if (errno == EAGAIN)
            f->writable = false;
        else if (errno != EINTR) {
            flow_drop(f, now);
            return;
        }
    }
}

static void flow_finish(struct flow *f, int64_t now)
{
    if (f->ending == OPEN || f->done || f->used || now + em.early < f->ending_at)
        return;
    f->done = true;
    if (f->ending == RST) {
        struct linger now_please = {1, 0};
        setsockopt(f->to, SOL_SOCKET, SO_LINGER, &now_please, sizeof now_please);
        f->connection->dead = true;
    } else {
        shutdown(f->to, SHUT_WR);
    }
}

static void flow_step(struct flow *f, int64_t now)
{
    flow_acknowledge(f, now);
    flow_deliver(f, now);
    if (!em.half)
        flow_acknowledge(f, now);
    flow_finish(f, now);
}

/* When this flow next needs a hand, not counting the link. */
static int64_t flow_next(const struct flow *f, int64_t now)
{
    int64_t next = queue_next(&f->acks);
    if (f->line.count) {
        int64_t gather = f->used - f->due > BULK && em.rtt >= MSEC ? GATHER_BULK : GATHER;
        next = min64(next, max64(queue_next(&f->line), f->last_delivered + gather));
    }
    if (f->ending != OPEN && !f->done && !f->used)
        next = min64(next, f->ending_at);
    if (f->readable && now + em.early < f->gate)
        next = min64(next, f->gate);
    return next;
}

/* ---- the shared link ---- */

static struct flow *link_flow(const struct link *l, uint32_t i)
{
    return l == &em.up ? &em.connection[i]->up : &em.connection[i]->down;
}

static uint32_t link_ready(const struct link *l, int64_t now)
{
    uint32_t ready = 0;
    for (uint32_t i = 0; i < em.count; i++)
        ready += flow_ready(link_flow(l, i), now);
    return ready;
}

static void link_serve_unlimited(struct link *l, int64_t now)
{
    for (uint32_t i = 0; i < em.count; i++) {
        struct flow *f = link_flow(l, i);
        if (flow_ready(f, now))
            flow_take(f, QUANTUM_UNLIMITED, now);
        if (!em.half)
            flow_step(f, now);
    }
}

/* How far ahead of `now` the link may be booked. */
static int64_t link_depth(void)
{
    return em.fifo ? (int64_t)((double)em.buffer * em.ns_per_byte) : HORIZON;
}

/* A FIFO is full: who has something to send loses it. Each once until it has been sent again. */
static void link_overflow(struct link *l, int64_t now)
{
    for (uint32_t i = 0; i < em.count; i++) {
        struct flow *f = link_flow(l, i);
        size_t waiting = flow_ready(f, now) && l->free_at + em.half >= f->recovering_until ? flow_waiting(f) : 0;
        if (waiting)
            flow_lose(f, l->free_at + em.half, waiting);
    }
}

/* Returns when the link wants its next turn. */
static int64_t link_serve(struct link *l, int64_t now)
{
    if (em.ns_per_byte == 0) {
        link_serve_unlimited(l, now);
        return link_ready(l, now) ? now : NEVER;
    }
    int64_t depth = link_depth();
    uint32_t ready = link_ready(l, now);
    while (ready && l->free_at < now + depth) {
        size_t quantum = ready > 1 ? em.quantum : TURNS_ALONE * em.quantum;
        for (uint32_t i = 0; i < em.count && l->free_at < now + depth; i++) {
            struct flow *f = link_flow(l, l->turn++ % em.count);
            if (flow_ready(f, now))
                flow_take(f, quantum, now);
        }
        ready = link_ready(l, now);
    }
    l->backlogged = ready > 0;
    if (em.fifo && ready)
        link_overflow(l, now);
    return ready ? l->free_at - depth + min64(depth, HORIZON) / 2 : NEVER;
}

/* ---- connections ---- */

static void watch(int fd, struct flow *from)
{
    struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, .data.ptr = from};
    if (epoll_ctl(em.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void connection_open(int client, int64_t now)
{
    int on = 1;
    int server = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (server < 0)
        die("socket");
    setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(server, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct connection *c = calloc(1, sizeof *c);
    if (!c)
        die("memory");
    flow_init(&c->up, c, &c->down, &em.up, client, server);
    flow_init(&c->down, c, &c->up, &em.down, server, client);
    c->up.gate = now + em.rtt;              /* SYN, SYN-ACK */
    c->down.gate = now + em.rtt + em.half;  /* and the ACK */
    if (connect(server, (struct sockaddr *)&em.target, sizeof em.target) < 0) {
        if (errno == EINPROGRESS)
            c->connecting = true;
        else
            flow_end(&c->down, RST, now + em.half);
    }
    em.connection[em.count++] = c;
    em.accepted++;
    watch(client, &c->up);
    watch(server, &c->down);
}

static void connection_close(uint32_t i)
{
    struct connection *c = em.connection[i];
    close(c->up.from);
    close(c->down.from);
    flow_free(&c->up);
    flow_free(&c->down);
    free(c);
    em.connection[i] = em.connection[--em.count];
}

static void on_accept(int64_t now)
{
    while (em.count < CONNECTIONS_MAX) {
        int client = accept4(em.listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (client < 0)
            return;
        connection_open(client, now);
    }
}

/* `f` is the flow that reads from the socket in question; its reverse writes to it. */
static void on_socket(struct flow *f, uint32_t events, int64_t now)
{
    if (f == &f->connection->down && f->connection->connecting && (events & (EPOLLOUT | EPOLLERR | EPOLLHUP))) {
        int error = 0;
        socklen_t length = sizeof error;
        getsockopt(f->from, SOL_SOCKET, SO_ERROR, &error, &length);
        f->connection->connecting = false;
        if (error)
            flow_end(f, RST, now + em.half);
    }
    if ((events & (EPOLLIN | EPOLLRDHUP | EPOLLERR | EPOLLHUP)) && f->ending == OPEN)
        f->readable = true;
    if (events & EPOLLOUT)
        f->reverse->writable = true;
}

/* ---- the loop ---- */

static int64_t step(void)
{
    int64_t now = now_ns();
    for (uint32_t i = 0; i < em.count; i++) {
        flow_step(&em.connection[i]->up, now);
        flow_step(&em.connection[i]->down, now);
    }
    int64_t next = min64(link_serve(&em.up, now), link_serve(&em.down, now));
    for (uint32_t i = em.count; i-- > 0;) {
        struct connection *c = em.connection[i];
        if (c->dead || (c->up.done && c->down.done)) {
            connection_close(i);
            continue;
        }
        next = min64(next, min64(flow_next(&c->up, now), flow_next(&c->down, now)));
    }
    return next;
}

static int wait_events(int64_t next, struct epoll_event *events)
{
    struct timespec wait = {0, 0};
    if (next == NEVER)
        return epoll_pwait2(em.epoll, events, EVENTS_MAX, NULL, NULL);
    int64_t left = max64(next - em.early - now_ns(), 0);
    if ((em.up.backlogged || em.down.backlogged) && left > 0) {
        struct timespec nap = {0, min64(left, NAP)};
        nanosleep(&nap, NULL);
        left = max64(left - NAP, 0);
    }
    wait.tv_sec = left / 1000000000LL;
    wait.tv_nsec = left % 1000000000LL;
    return epoll_pwait2(em.epoll, events, EVENTS_MAX, &wait, NULL);
}

static void run(void)
{
    struct epoll_event events[EVENTS_MAX];
    for (;;) {
        int count = wait_events(step(), events);
        if (count < 0 && errno != EINTR)
            die("epoll_pwait2");
        int64_t now = now_ns();
        for (int i = 0; i < count; i++) {
            if (events[i].data.ptr == &em.signals)
                return;
            if (events[i].data.ptr == &em.listener)
                on_accept(now);
            else
                on_socket(events[i].data.ptr, events[i].events, now);
        }
    }
}

/* ---- arguments ---- */

static void usage(void)
{
    fprintf(stderr, "usage: linkem --listen HOST:PORT --connect HOST:PORT [--rtt TIME] [--rate BITS] [--window SIZE]\n"
                    "              [--initial-window SIZE] [--idle-restart] [--queue fair|fifo] [--buffer SIZE]\n"
                    "              [--loss PERCENT] [--seed N]\n"
                    "TIME 50ms, 200us, 1s; BITS 1gbit, 100mbit; SIZE 32m, 64k. IPv4 addresses, port 0 = any.\n");
    exit(2);
}

static double number(const char *text, const char *const *unit, const double *factor)
{
    char *end;
    double value = strtod(text, &end);
    if (end == text || value < 0)
        usage();
    for (; *unit; unit++, factor++)
        if (!strcasecmp(end, *unit))
            return value * *factor;
    usage();
    return 0;
}

static int64_t parse_time(const char *text)
{
    static const char *const unit[] = {"ms", "us", "s", "", NULL};
    static const double factor[] = {1e6, 1e3, 1e9, 1e6};
    return (int64_t)number(text, unit, factor);
}

static double parse_rate(const char *text)
{
    static const char *const unit[] = {"gbit", "mbit", "kbit", "", NULL};
    static const double factor[] = {1e9, 1e6, 1e3, 1};
    return number(text, unit, factor);
}

static size_t parse_size(const char *text)
{
    static const char *const unit[] = {"", "k", "m", "g", NULL};
    static const double factor[] = {1, 1024, 1024 * 1024, 1024.0 * 1024 * 1024};
    size_t size = (size_t)number(text, unit, factor);
    return size < 2 * SEGMENT ? 2 * SEGMENT : size;
}

static bool parse_queue(const char *text)
{
    if (strcmp(text, "fifo") && strcmp(text, "fair"))
        usage();
    return !strcmp(text, "fifo");
}

static uint64_t parse_loss(const char *text)
{
    static const char *const unit[] = {"%", "", NULL};
    static const double factor[] = {1, 1};
    double percent = number(text, unit, factor);
    if (percent > 50)
        usage();
    return (uint64_t)(percent / 100 * 4294967296.0);
}

static size_t default_window(double rate, size_t twice)
{
    if (rate > 0 && rate <= THIN)
        return (size_t)min64(max64((int64_t)twice, WINDOW_THIN_MIN), WINDOW_THIN_MAX);
    return em.rtt ? WINDOW_FAT : 1 << 20;
}

static struct sockaddr_in parse_address(const char *text)
{
    char host[64];
    struct sockaddr_in address = {.sin_family = AF_INET};
    const char *colon = strrchr(text, ':');
    if (!colon || (size_t)(colon - text) >= sizeof host)
        usage();
    snprintf(host, sizeof host, "%.*s", (int)(colon - text), text);
    if (!strcmp(host, "localhost"))
        snprintf(host, sizeof host, "127.0.0.1");
    address.sin_port = htons((uint16_t)atoi(colon + 1));
    if (inet_pton(AF_INET, host, &address.sin_addr) != 1)
        usage();
    return address;
}

/* The median lateness of a short sleep. */
static int64_t measure_wake(void)
{
    enum { TRIES = 15 };
    int64_t late[TRIES];
    for (int i = 0; i < TRIES; i++) {
        struct timespec nap = {0, 2 * MSEC};
        int64_t begin = now_ns(), at = i;
        nanosleep(&nap, NULL);
        int64_t took = now_ns() - begin - 2 * MSEC;
        for (; at > 0 && late[at - 1] > took; at--)
            late[at] = late[at - 1];
        late[at] = took;
    }
    return min64(late[TRIES / 2], EARLY_MAX);
}

static void parse(int argc, char **argv, struct sockaddr_in *listen_at)
{
    static const struct option options[] = {
        {"listen", 1, NULL, 'l'}, {"connect", 1, NULL, 'c'}, {"rtt", 1, NULL, 't'}, {"rate", 1, NULL, 'r'},
        {"window", 1, NULL, 'w'}, {"initial-window", 1, NULL, 'i'}, {"idle-restart", 0, NULL, 'I'}, {"queue", 1, NULL, 'q'},
        {"buffer", 1, NULL, 'b'}, {"loss", 1, NULL, 'L'}, {"seed", 1, NULL, 's'}, {NULL, 0, NULL, 0}};
    int option;
    double rate = 0;
    em.window_initial = INITIAL_WINDOW;
    while ((option = getopt_long(argc, argv, "", options, NULL)) != -1) {
        switch (option) {
        case 'l': *listen_at = parse_address(optarg); break;
        case 'c': em.target = parse_address(optarg); break;
        case 't': em.rtt = parse_time(optarg); break;
        case 'r': rate = parse_rate(optarg); break;
        case 'w': em.window_max = parse_size(optarg); break;
        case 'i': em.window_initial = parse_size(optarg); break;
        case 'I': em.idle_restart = true; break;
        case 'q': em.fifo = parse_queue(optarg); break;
        case 'b': em.buffer = parse_size(optarg); break;
        case 'L': em.lose_below = parse_loss(optarg); break;
        case 's': em.seed = strtoull(optarg, NULL, 0); break;
        default: usage();
        }
    }
    if (!em.target.sin_port || optind != argc)
        usage();
    size_t twice = (size_t)(2 * rate / 8 * (double)em.rtt / 1e9); /* of what the link holds */
    if (!em.window_max)
        em.window_max = default_window(rate, twice);
    if (!em.buffer)
        em.buffer = max64((int64_t)twice, BUFFER_MIN);
    em.half = em.rtt / 2;
    em.early = em.half ? min64(measure_wake() / 2, em.half / 16) : 0; /* half: rather too long than too short */
    em.ns_per_byte = rate > 0 ? 8e9 / rate : 0;
    em.quantum = (size_t)min64(max64((int64_t)(rate / 8 * HORIZON / 1e9), 2 * SEGMENT), QUANTUM);
    if (!em.rtt || em.window_initial > em.window_max)
        em.window_initial = em.window_max; /* without delay a window limits nothing but memory */
}

static void watch_special(int fd, int *tag)
{
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = tag};
    if (epoll_ctl(em.epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        die("epoll_ctl");
}

static void listen_and_tell(struct sockaddr_in at)
{
    int on = 1;
    socklen_t length = sizeof at;
    em.listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (em.listener < 0)
        die("socket");
    setsockopt(em.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    if (bind(em.listener, (struct sockaddr *)&at, sizeof at) < 0 || listen(em.listener, 256) < 0 ||
        getsockname(em.listener, (struct sockaddr *)&at, &length) < 0)
        die("listen");
    watch_special(em.listener, &em.listener);
    printf("%u\n", ntohs(at.sin_port));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    struct sockaddr_in listen_at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    sigset_t signals;
    parse(argc, argv, &listen_at);
    sigemptyset(&signals);
    sigaddset(&signals, SIGTERM);
    sigaddset(&signals, SIGINT);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    prctl(PR_SET_TIMERSLACK, 1000UL);
    setpriority(PRIO_PROCESS, 0, -10); /* a link does not wait for the programs at its ends; not allowed: go on */
    em.epoll = epoll_create1(EPOLL_CLOEXEC);
    em.signals = signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK);
    if (em.epoll < 0 || em.signals < 0)
        die("epoll");
    watch_special(em.signals, &em.signals);
    listen_and_tell(listen_at);
    run();
    printf("connections %" PRIu64 " up %" PRIu64 " down %" PRIu64 " lost %" PRIu64 "\n", em.accepted, em.up.carried, em.down.carried,
           em.lost);
    return 0;
}
