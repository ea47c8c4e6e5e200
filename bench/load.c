/* The load client: thousands of WebSocket connections on one core, several times cheaper than any server under test.
 *
 * Usage: load HOST PORT [--protocol NAME] [--hello TEXT]... [--binary] [--ready TEXT] [--echo PING PONG]
 *   --protocol  Sec-WebSocket-Protocol to ask for
 *   --hello     frames to send after the upgrade; \r and \n are escapes; text frames unless --binary
 *   --ready     a connection counts as open once a payload held this text (otherwise after the upgrade)
 *   --echo      a payload that is exactly PING is answered with PONG (pings of protocols above WebSocket)
 *
 * Commands on standard input, one a line; each but `quit` is answered by one line of JSON:
 *   path PATH         of the connections made from now on; {t} in it is the connection's number modulo `spread`
 *   spread N          see path
 *   connect N FLIGHT  makes N more connections, FLIGHT handshakes at a time; answers when all are open
 *   stall N           the first N connections are not read any more
 *   window T0 T1      from now on only events with T0 <= stamp < T1 (ns, CLOCK_MONOTONIC) are in the histogram
 *   reset             sets all counts to zero
 *   report            the counts
 *   await D           answers with a report when D events have been delivered since `reset`, or after 20 s
 *   pause US          rest so long after each look at the sockets. A client that waits in epoll has to be woken by each
 *                     send, which on one machine is charged to the server; one that rests does not
 *   drop              closes all connections
 *   quit
 *
 * An event is recognised by `~NNNNNNNNNN:TTTTTTTTTTTTTTTTTTT` anywhere in a payload, however messages are packed into
 * frames and whatever stands around it: its number, and the nanosecond at which it was made. Each connection checks
 * that numbers go up by one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MARK = 31, SMALL = 64, MAX_HELLO = 8, BUFFER = 1 << 18, MAX_CLIENTS = 60000 };
enum { SUB_BITS = 5, BUCKETS = 64 << SUB_BITS };

typedef enum { CLOSED, CONNECTING, UPGRADING, GREETING, OPEN } State;

typedef struct {
    int fd;
    State state;
    int stalled;
    /* the frame that is being read */
    unsigned char head[10];
    int head_have;
    uint64_t left;
    int opcode;
    unsigned char small[SMALL]; /* the beginning of the payload, for pings */
    unsigned small_have;
    /* a mark that was cut by the end of a read */
    char mark[MARK];
    int mark_have;
    uint64_t last;
} Client;

static Client *clients;
static int client_count, open_count, wanted_count, flight_count, flight_max;
static int epoll_fd;
static struct sockaddr_in server;
static const char *host, *protocol, *ready, *ping, *pong;
static char *hello[MAX_HELLO];
static int hello_count, hello_binary;
static char path[1024] = "/ws";
static int spread = 1;
static long pause_us;
static uint64_t window_from, window_to = UINT64_MAX;
static uint64_t delivered, in_window, bytes_read, reads, missing, repeated, lost_connections, refused;
static uint64_t histogram[BUCKETS], latency_max, latency_sum;
static uint64_t connect_began, await_count, await_began, awaiting_since;
static char buffer[BUFFER];

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000ull + (uint64_t)t.tv_nsec;
}

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int bucket_of(uint64_t ns) {
    if (ns < (1u << SUB_BITS)) return (int)ns;
    int top = 63 - __builtin_clzll(ns);
    return ((top - SUB_BITS + 1) << SUB_BITS) + (int)((ns >> (top - SUB_BITS)) & ((1u << SUB_BITS) - 1));
}

static void watch(Client *c, uint32_t events, int operation) {
    struct epoll_event e = {.events = events, .data.u32 = (uint32_t)(c - clients)};
    if (epoll_ctl(epoll_fd, operation, c->fd, &e) < 0) die("epoll_ctl");
}

static void end(Client *c) {
    if (c->state == CLOSED) return;
    if (c->state == OPEN) {
        open_count--;
        lost_connections++;
    } else {
        flight_count--;
        refused++;
        wanted_count--;
    }
    close(c->fd);
    c->state = CLOSED;
}

static void send_frame(Client *c, int opcode, const char *data, size_t length) {
    unsigned char frame[2048];
    size_t at = 0;
    if (length > sizeof frame - 16) return;
    frame[at++] = (unsigned char)(0x80 | opcode);
    if (length < 126) {
        frame[at++] = (unsigned char)(0x80 | length);
    } else {
        frame[at++] = 0x80 | 126;
        frame[at++] = (unsigned char)(length >> 8);
        frame[at++] = (unsigned char)length;
    }
    /* a key of zeros: masked as RFC 6455 wants it, and nothing to compute */
    memset(frame + at, 0, 4);
    at += 4;
    memcpy(frame + at, data, length);
    at += length;
    if (send(c->fd, frame, at, MSG_NOSIGNAL | MSG_DONTWAIT) < 0 && errno != EAGAIN) end(c);
}

static void note_mark(Client *c, const char *mark) {
    uint64_t number = 0, stamp = 0;
    for (int i = 1; i <= 10; i++) number = number * 10 + (uint64_t)(mark[i] - '0');
    for (int i = 12; i < MARK; i++) stamp = stamp * 10 + (uint64_t)(mark[i] - '0');
    delivered++;
    if (c->last) {
        if (number <= c->last) repeated++;
        else missing += number - c->last - 1;
    }
    if (number > c->last) c->last = number;
    if (stamp < window_from || stamp >= window_to) return;
    static uint64_t read_at, read_number;
    if (read_number != reads) { /* one clock reading for all that one read brought */
        read_number = reads;
        read_at = now_ns();
    }
    uint64_t latency = read_at > stamp ? read_at - stamp : 0;
    in_window++;
    latency_sum += latency;
    if (latency > latency_max) latency_max = latency;
    histogram[bucket_of(latency)]++;
}

static void scan(Client *c, const char *data, size_t length) {
    if (c->mark_have) {
        size_t take = (size_t)(MARK - c->mark_have);
        if (take > length) take = length;
        memcpy(c->mark + c->mark_have, data, take);
        c->mark_have += (int)take;
        if (c->mark_have < MARK) return;
        note_mark(c, c->mark);
        c->mark_have = 0;
        data += take;
        length -= take;
    }
    while (length) {
        const char *found = memchr(data, '~', length);
        if (!found) return;
        length -= (size_t)(found - data);
        data = found;
        if (length < MARK) {
            memcpy(c->mark, data, length);
            c->mark_have = (int)length;
            return;
        }
        note_mark(c, data);
        data += MARK;
        length -= MARK;
    }
}

static void opened(Client *c) {
    if (c->state == OPEN) return;
    c->state = OPEN;
    flight_count--;
    open_count++;
}

static void frame_ended(Client *c) {
    unsigned n = c->small_have;
    if (c->opcode == 9) send_frame(c, 10, (char *)c->small, n);
    else if (c->opcode == 8) end(c);
    else if (ping && n == strlen(ping) && !memcmp(c->small, ping, n)) send_frame(c, hello_binary ? 2 : 1, pong, strlen(pong));
}

static void take_frames(Client *c, char *data, size_t length) {
    while (length && c->state != CLOSED) {
        if (c->head_have >= 0) {
            c->head[c->head_have++] = (unsigned char)*data++;
            length--;
            if (c->head_have < 2) continue;
            int need = c->head[1] == 126 ? 4 : c->head[1] == 127 ? 10 : 2;
            if (c->head_have < need) continue;
            c->opcode = c->head[0] & 15;
            c->left = c->head[1];
            if (need > 2) {
                c->left = 0;
                for (int i = 2; i < need; i++) c->left = c->left << 8 | c->head[i];
            }
            c->small_have = 0;
            c->head_have = -1;
            if (c->left == 0) {
                c->head_have = 0;
                frame_ended(c);
            }
            continue;
        }
        size_t take = c->left < length ? (size_t)c->left : length;
        if (c->small_have < SMALL) {
            size_t keep = SMALL - c->small_have < take ? SMALL - c->small_have : take;
            memcpy(c->small + c->small_have, data, keep);
            c->small_have += (unsigned)keep;
        }
        if (c->opcode <= 2) {
            scan(c, data, take);
            if (c->state == GREETING && memmem(data, take, ready, strlen(ready))) opened(c);
        }
        data += take;
        length -= take;
        c->left -= take;
        if (c->left == 0) {
            c->head_have = 0;
            frame_ended(c);
        }
    }
}

static void ask(Client *c) {
    char expanded[1200], request[2048];
    const char *hole = strstr(path, "{t}");
    if (hole)
        snprintf(expanded, sizeof expanded, "%.*s%d%s", (int)(hole - path), path, (int)(c - clients) % spread, hole + 3);
    else
        snprintf(expanded, sizeof expanded, "%s", path);
    int length = snprintf(request, sizeof request,
        "GET %s HTTP/1.1\r\nHost: %s:%d\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n%s%s%s\r\n",
        expanded, host, ntohs(server.sin_port), protocol ? "Sec-WebSocket-Protocol: " : "", protocol ? protocol : "",
        protocol ? "\r\n" : "");
    if (send(c->fd, request, (size_t)length, MSG_NOSIGNAL) != length) { end(c); return; }
    c->state = UPGRADING;
    watch(c, EPOLLIN, EPOLL_CTL_MOD);
}

static void upgraded(Client *c, char *data, size_t length) {
    data[length] = 0;
    char *body = strstr(data, "\r\n\r\n");
    if (!body || strncmp(data, "HTTP/1.1 101", 12)) {
        static int told;
        if (!told++) fprintf(stderr, "refused: %.200s\n", data);
        end(c);
        return;
    }
    body += 4;
    c->state = GREETING;
    for (int i = 0; i < hello_count; i++) send_frame(c, hello_binary ? 2 : 1, hello[i], strlen(hello[i]));
    if (!ready) opened(c);
    take_frames(c, body, length - (size_t)(body - data));
}

static void readable(Client *c) {
    ssize_t got = recv(c->fd, buffer, BUFFER - 1, 0);
    if (got <= 0) {
        if (got < 0 && (errno == EAGAIN || errno == EINTR)) return;
        end(c);
        return;
    }
    reads++;
    bytes_read += (uint64_t)got;
    if (c->state == UPGRADING) upgraded(c, buffer, (size_t)got);
    else take_frames(c, buffer, (size_t)got);
}

static void start_one(void) {
    Client *c = &clients[client_count++];
    memset(c, 0, sizeof *c);
    c->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    if (c->fd < 0) die("socket");
    int one = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    c->state = CONNECTING;
    flight_count++;
    watch(c, EPOLLOUT, EPOLL_CTL_ADD);
    if (connect(c->fd, (struct sockaddr *)&server, sizeof server) < 0 && errno != EINPROGRESS) end(c);
}

static void report(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    double cpu = (double)usage.ru_utime.tv_sec + (double)usage.ru_stime.tv_sec +
                 (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1e6;
    printf("{\"ns\":%llu,\"open\":%d,\"delivered\":%llu,\"in_window\":%llu,\"bytes\":%llu,\"reads\":%llu,\"missing\":%llu,"
           "\"repeated\":%llu,\"lost_connections\":%llu,\"refused\":%llu,\"cpu_s\":%.6f,\"latency_max\":%llu,"
           "\"latency_sum\":%llu,\"histogram\":[",
           (unsigned long long)now_ns(), open_count, (unsigned long long)delivered, (unsigned long long)in_window,
           (unsigned long long)bytes_read, (unsigned long long)reads, (unsigned long long)missing,
           (unsigned long long)repeated, (unsigned long long)lost_connections, (unsigned long long)refused, cpu,
           (unsigned long long)latency_max, (unsigned long long)latency_sum);
    const char *comma = "";
    for (int i = 0; i < BUCKETS; i++)
        if (histogram[i]) {
            printf("%s[%d,%llu]", comma, i, (unsigned long long)histogram[i]);
            comma = ",";
        }
    printf("]}\n");
    fflush(stdout);
}

static void answer(void) {
    printf("{}\n");
    fflush(stdout);
}

static void reset(void) {
    delivered = in_window = bytes_read = reads = missing = repeated = lost_connections = refused = 0;
    latency_max = latency_sum = 0;
    memset(histogram, 0, sizeof histogram);
}

static void command(char *line) {
    unsigned long long a, b;
    int n, flight;
    if (sscanf(line, "connect %d %d", &n, &flight) == 2) {
        if (client_count + n > MAX_CLIENTS) n = MAX_CLIENTS - client_count;
        wanted_count += n;
        flight_max = flight;
        connect_began = now_ns();
    } else if (sscanf(line, "path %1023[^\n]", path) == 1) answer();
    else if (sscanf(line, "spread %d", &spread) == 1) answer();
    else if (sscanf(line, "pause %ld", &pause_us) == 1) answer();
    else if (sscanf(line, "stall %d", &n) == 1) {
        for (int i = 0; i < n && i < client_count; i++)
            if (clients[i].state == OPEN && !clients[i].stalled) {
                clients[i].stalled = 1;
                watch(&clients[i], 0, EPOLL_CTL_DEL);
            }
        answer();
    } else if (sscanf(line, "window %llu %llu", &a, &b) == 2) {
        window_from = a;
        window_to = b;
        answer();
    } else if (sscanf(line, "await %llu", &a) == 1) {
        await_count = a;
        await_began = now_ns();
        awaiting_since = await_began;
    } else if (!strncmp(line, "reset", 5)) {
        reset();
        answer();
    } else if (!strncmp(line, "report", 6)) report();
    else if (!strncmp(line, "drop", 4)) {
        for (int i = 0; i < client_count; i++)
            if (clients[i].state != CLOSED) close(clients[i].fd);
        client_count = open_count = wanted_count = flight_count = 0;
        answer();
    } else if (!strncmp(line, "quit", 4)) exit(0);
    else fprintf(stderr, "no such command: %s\n", line);
}

static void commands(void) {
    static char line[2048];
    static size_t have;
    ssize_t got = read(0, line + have, sizeof line - have - 1);
    if (got <= 0) exit(0);
    have += (size_t)got;
    line[have] = 0;
    char *newline;
    while ((newline = strchr(line, '\n'))) {
        *newline = 0;
        command(line);
        have -= (size_t)(newline + 1 - line);
        memmove(line, newline + 1, have + 1);
    }
}

static char *unescaped(char *text) {
    char *out = text, *in = text;
    for (; *in; in++)
        if (in[0] == '\\' && (in[1] == 'r' || in[1] == 'n')) *out++ = *++in == 'r' ? '\r' : '\n';
        else *out++ = *in;
    *out = 0;
    return text;
}

int main(int argc, char **argv) {
    if (argc < 3) die("usage: load HOST PORT ...");
    host = argv[1];
    server.sin_family = AF_INET;
    server.sin_port = htons((uint16_t)atoi(argv[2]));
    if (inet_pton(AF_INET, host, &server.sin_addr) != 1) die("not an IPv4 address");
    for (int i = 3; i < argc; i++) {
        if (!strcmp(argv[i], "--binary")) hello_binary = 1;
        else if (!strcmp(argv[i], "--protocol")) protocol = argv[++i];
        else if (!strcmp(argv[i], "--ready")) ready = unescaped(argv[++i]);
        else if (!strcmp(argv[i], "--hello") && hello_count < MAX_HELLO) hello[hello_count++] = unescaped(argv[++i]);
        else if (!strcmp(argv[i], "--echo")) {
            ping = unescaped(argv[++i]);
            pong = unescaped(argv[++i]);
        } else die(argv[i]);
    }
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    clients = calloc(MAX_CLIENTS, sizeof *clients);
    prctl(PR_SET_TIMERSLACK, 1ul);
    epoll_fd = epoll_create1(0);
    struct epoll_event in = {.events = EPOLLIN, .data.u32 = UINT32_MAX};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, 0, &in);
    static struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 1024, connect_began || awaiting_since ? 100 : -1);
        for (int i = 0; i < n; i++) {
            if (events[i].data.u32 == UINT32_MAX) {
                commands();
                continue;
            }
            Client *c = &clients[events[i].data.u32];
            if (c->state == CLOSED) continue;
            if (c->state == CONNECTING) {
                int error = 0;
                socklen_t size = sizeof error;
                getsockopt(c->fd, SOL_SOCKET, SO_ERROR, &error, &size);
                if (error) end(c);
                else ask(c);
            } else readable(c);
        }
        if (pause_us && !connect_began) {
            struct timespec rest = {.tv_nsec = pause_us * 1000};
            nanosleep(&rest, NULL);
        }
        if (connect_began) {
            while (flight_count < flight_max && open_count + flight_count < wanted_count) start_one();
            if (open_count >= wanted_count) {
                printf("{\"open\":%d,\"refused\":%llu,\"seconds\":%.6f}\n", open_count, (unsigned long long)refused,
                       (double)(now_ns() - connect_began) / 1e9);
                fflush(stdout);
                connect_began = 0;
            }
        }
        if (awaiting_since && (delivered >= await_count || now_ns() - awaiting_since > 20000000000ull)) {
            awaiting_since = 0;
            report();
        }
    }
}
