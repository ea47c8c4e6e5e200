/* A server that only sends: what one core can do at best, for comparison.
 *
 * Usage: limit PORT FEED_PORT each|joined
 *
 * Each line read on FEED_PORT is framed once and sent to every WebSocket client on PORT: one send() for each event and
 * client (`each`), or one for all events that came since the last time (`joined`). It checks nothing, counts nothing,
 * answers no ping, and waits for a client whose buffer is full. The handshake's answer is that to load.c's key.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

enum { MAX_CLIENTS = 60000, BUFFER = 1 << 20 };

static int clients[MAX_CLIENTS], client_count, epoll_fd, feed = -1;
static unsigned char is_client[1 << 17];
static char input[BUFFER], frames[2 * BUFFER];
static size_t have;

static const char ANSWER[] =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

static void die(const char *what) {
    perror(what);
    exit(1);
}

static int listening(int port) {
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 1024) < 0) die("listen");
    return fd;
}

static void watch(int fd) {
    struct epoll_event e = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll_fd, EPOLL_CTL_ADD, fd, &e) < 0) die("epoll_ctl");
}

static void send_all(int fd, const char *data, size_t length) {
    while (length) {
        ssize_t sent = send(fd, data, length, MSG_NOSIGNAL);
        if (sent < 0 && errno == EAGAIN) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            poll(&p, 1, 1000);
        } else if (sent < 0) return;
        else {
            data += sent;
            length -= (size_t)sent;
        }
    }
}

static void fan_out(const char *data, size_t length) {
    for (int i = 0; i < client_count; i++) send_all(clients[i], data, length);
}

static void take_feed(int joined) {
    ssize_t got = recv(feed, input + have, sizeof input - have, 0);
    if (got <= 0) exit(0);
    have += (size_t)got;
    size_t at = 0, out = 0;
    char *newline;
    while ((newline = memchr(input + at, '\n', have - at))) {
        size_t length = (size_t)(newline - input) - at;
        char *frame = frames + out;
        frame[0] = (char)0x81;
        frame[1] = 126;
        frame[2] = (char)(length >> 8);
        frame[3] = (char)length;
        memcpy(frame + 4, input + at, length);
        if (joined) out += length + 4;
        else fan_out(frame, length + 4);
        at += length + 1;
    }
    if (out) fan_out(frames, out);
    memmove(input, input + at, have - at);
    have -= at;
}

int main(int argc, char **argv) {
    if (argc != 4) die("usage: limit PORT FEED_PORT each|joined");
    int joined = !strcmp(argv[3], "joined");
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    epoll_fd = epoll_create1(0);
    int doors[2] = {listening(atoi(argv[1])), listening(atoi(argv[2]))};
    watch(doors[0]);
    watch(doors[1]);
    static struct epoll_event events[1024];
    for (;;) {
        int n = epoll_wait(epoll_fd, events, 1024, -1);
        for (int i = 0; i < n; i++) {
            int fd = events[i].data.fd;
            if (fd == doors[0] || fd == doors[1]) {
                int one = 1, accepted;
                while ((accepted = accept4(fd, 0, 0, SOCK_NONBLOCK)) >= 0) {
                    setsockopt(accepted, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
                    watch(accepted);
                    if (fd == doors[1]) feed = accepted;
                }
            } else if (fd == feed) take_feed(joined);
            else {
                static char request[4096];
                ssize_t got = recv(fd, request, sizeof request, 0);
                if (got <= 0) { /* gone */
                    if (got < 0 && errno == EAGAIN) continue;
                    for (int j = 0; j < client_count; j++)
                        if (clients[j] == fd) clients[j] = clients[--client_count];
                    is_client[fd] = 0;
                    close(fd);
                } else if (!is_client[fd] && client_count < MAX_CLIENTS) {
                    is_client[fd] = 1;
                    clients[client_count++] = fd;
                    send_all(fd, ANSWER, sizeof ANSWER - 1);
                }
            }
        }
    }
}
