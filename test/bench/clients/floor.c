/*
 * The floor: the least that a client on Linux can do and still measure. One thread, one epoll instance, one keep-alive
 * connection a stream, the kernel's receive times (SO_TIMESTAMPNS). It counts output tokens by a marker in the bytes and
 * parses nothing else. No TLS, no failures but "it broke", no metrics.
 *
 *   floor HOST PORT REQUEST MARKER STREAMS REQUESTS OUT
 *
 * REQUEST is a file with one whole HTTP/1.1 request; each of STREAMS connections sends it REQUESTS times, one after the
 * other. A token is MARKER in the response followed by another byte than '"'; with an empty MARKER a response is one
 * token. OUT.ttft and OUT.itl receive nanoseconds as 64-bit integers in the machine's byte order: the time from each
 * send to the first token, and for each later token the time since the one before it, 0 for one of the same receive;
 * OUT.json what else is known.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { ROOM = 64 << 10, CARRY = 64, EVENTS = 512 };

struct stream {
    int fd, left;          /* requests still to send */
    long body;             /* bytes left of a body with a length; -1 = head not read yet, -2 = chunked */
    int64_t sent, last;    /* wall clock, ns; last = 0 before the first token */
    int carried;
    char carry[CARRY];
};

struct values { int64_t *at; size_t n, room; };

static char *request;
static size_t request_size, marker_size;
static const char *marker;
static struct values ttft, itl;
static long tokens, broken;

static void die(const char *what) { perror(what); exit(1); }

static int64_t now(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return t.tv_sec * 1000000000LL + t.tv_nsec;
}

static void push(struct values *v, int64_t value) {
    if (v->n == v->room) {
        v->room = v->room ? 2 * v->room : 1 << 16;
        v->at = realloc(v->at, v->room * sizeof *v->at);
        if (!v->at) die("realloc");
    }
    v->at[v->n++] = value;
}

static void send_request(struct stream *s) {
    int64_t before = now();
    if (send(s->fd, request, request_size, MSG_NOSIGNAL) != (ssize_t)request_size) die("send");
    s->sent = before + (now() - before) / 2;
    s->last = 0;
    s->body = -1;
    s->carried = 0;
    s->left--;
}

static void arrived(struct stream *s, int count, int64_t at) {
    tokens += count;
    for (; count > 0; count--) {
        if (s->last) push(&itl, at - s->last);
        else push(&ttft, at - s->sent);
        s->last = at;
    }
}

/* Handles what a receive brought; 1 = the response is complete. */
static int feed(struct stream *s, char *data, size_t n, int64_t at) {
    char *end = data + n, *body = data;
    if (s->body == -1) {
        char *head = memmem(data, n, "\r\n\r\n", 4);
        if (!head) goto keep;
        body = head + 4;
        char *length = memmem(data, head - data, "content-length: ", 16);
        s->body = length ? strtol(length + 16, NULL, 10) : -2;
        if (memmem(data, head - data, " 200 ", 5) == NULL) broken++;
    } else {
        body = data + s->carried;
    }
    int count = 0;
    if (marker_size) {
        char *from = s->body == -2 && body > data ? data : body;
        while ((from = memmem(from, end - from, marker, marker_size)) && from + marker_size < end) {
            count += from[marker_size] != '"';
            from += marker_size;
        }
    }
    int complete = 0;
    if (s->body == -2) {
        complete = n >= 7 && memcmp(end - 7, "\r\n0\r\n\r\n", 7) == 0;
    } else {
        s->body -= end - body;
        complete = s->body == 0;
        if (complete && !marker_size) count = 1;
    }
    if (count) arrived(s, count, at);
    if (complete) return 1;
keep:
    /* As many bytes as a marker and its next byte less one: none is found twice, none is missed. */
    s->carried = (int)(s->body == -1 ? n : n < marker_size ? n : marker_size);
    if (s->carried > CARRY) die("a head in pieces");
    memcpy(s->carry, end - s->carried, s->carried);
    return 0;
}

static FILE *create(const char *out, const char *ending) {
    char name[4096];
    snprintf(name, sizeof name, "%s.%s", out, ending);
    FILE *f = fopen(name, "wb");
    if (!f) die(name);
    return f;
}

static void save(const char *out, const char *ending, struct values *v) {
    FILE *f = create(out, ending);
    if (fwrite(v->at, sizeof *v->at, v->n, f) != v->n || fclose(f)) die(ending);
}

int main(int argc, char **argv) {
    if (argc != 8) {
        fprintf(stderr, "floor HOST PORT REQUEST MARKER STREAMS REQUESTS OUT\n");
        return 2;
    }
    FILE *f = fopen(argv[3], "rb");
    request = malloc(1 << 20);
    if (!f || !request) die(argv[3]);
    request_size = fread(request, 1, 1 << 20, f);
    fclose(f);
    marker = argv[4];
    marker_size = strlen(marker);
    int streams = atoi(argv[5]), requests = atoi(argv[6]), open = streams;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(atoi(argv[2]))};
    if (inet_pton(AF_INET, argv[1], &address.sin_addr) != 1) die(argv[1]);

    struct stream *all = calloc(streams, sizeof *all);
    int ep = epoll_create1(0), on = 1;
    for (int i = 0; i < streams; i++) {
        struct stream *s = &all[i];
        s->fd = socket(AF_INET, SOCK_STREAM, 0);
        s->left = requests;
        if (connect(s->fd, (struct sockaddr *)&address, sizeof address)) die("connect");
        setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        setsockopt(s->fd, SOL_SOCKET, SO_TIMESTAMPNS, &on, sizeof on);
        fcntl(s->fd, F_SETFL, O_NONBLOCK);
        struct epoll_event e = {.events = EPOLLIN, .data.ptr = s};
        if (epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &e)) die("epoll_ctl");
    }
    int64_t began = now(), ended = began;
    for (int i = 0; i < streams; i++) send_request(&all[i]);

    static char buffer[CARRY + ROOM];
    static struct epoll_event events[EVENTS];
    while (open) {
        int n = epoll_wait(ep, events, EVENTS, -1);
        for (int i = 0; i < n; i++) {
            struct stream *s = events[i].data.ptr;
            char control[128];
            memcpy(buffer, s->carry, s->carried);
            struct iovec v = {buffer + s->carried, ROOM};
            struct msghdr m = {.msg_iov = &v, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof control};
            ssize_t got = recvmsg(s->fd, &m, 0);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) continue;
            if (got <= 0) {
                broken++;
                close(s->fd);
                open--;
                continue;
            }
            int64_t at = 0;
            for (struct cmsghdr *c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
                if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPNS) {
                    struct timespec t;
                    memcpy(&t, CMSG_DATA(c), sizeof t);
                    at = t.tv_sec * 1000000000LL + t.tv_nsec;
                }
            }
            if (!at) at = now();
            if (!feed(s, buffer, s->carried + got, at)) continue;
            ended = at;
            if (s->left) {
                send_request(s);
            } else {
                close(s->fd);
                open--;
            }
        }
    }
    struct rusage u;
    getrusage(RUSAGE_SELF, &u);
    save(argv[7], "ttft", &ttft);
    save(argv[7], "itl", &itl);
    f = create(argv[7], "json");
    fprintf(f, "{\"tokens\":%ld,\"broken\":%ld,\"spanS\":%.6f,\"peakMB\":%.3f}\n", tokens, broken, (ended - began) / 1e9, u.ru_maxrss / 1024.0);
    if (fclose(f)) die("json");
    return broken > 0;
}
