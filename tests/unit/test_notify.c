/* What the service manager is told, through a real datagram socket. */
#include "tests/lib/test.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "controller/base/notify.h"

static int listen_at(const char *path, bool abstract)
{
        struct sockaddr_un at = { .sun_family = AF_UNIX };
        int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0);
        assert_true(fd >= 0);
        strcpy(at.sun_path, path);
        socklen_t size = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + strlen(path));
        if (abstract) at.sun_path[0] = '\0';
        assert_int_equal(bind(fd, (struct sockaddr *)&at, abstract ? size : sizeof at), 0);
        assert_int_equal(setenv("NOTIFY_SOCKET", path, 1), 0);
        return fd;
}

static void assert_told(int fd, const char *want)
{
        char got[1024];
        ssize_t n = recv(fd, got, sizeof got - 1, 0);
        assert_true(n >= 0);
        got[n] = '\0';
        assert_string_equal(got, want);
}

static void test_path(void **state)
{
        char path[64];
        snprintf(path, sizeof path, "/tmp/outrigger-notify-%d", (int)getpid());
        int fd = listen_at(path, false);
        notify_manager("READY=1\nSTATUS=member %s", "c1");
        assert_told(fd, "READY=1\nSTATUS=member c1");
        close(fd);
        unlink(path);
        notify_manager("STOPPING=1"); /* nobody listens: nothing happens */
}

static void test_abstract(void **state)
{
        char path[64];
        snprintf(path, sizeof path, "@outrigger-notify-%d", (int)getpid());
        int fd = listen_at(path, true);
        notify_manager("STOPPING=1");
        assert_told(fd, "STOPPING=1");
        close(fd);
}

static void test_nobody(void **state)
{
        char path[64], longer[200];
        snprintf(path, sizeof path, "/tmp/outrigger-notify-%d", (int)getpid());
        int fd = listen_at(path, false);
        assert_int_equal(setenv("NOTIFY_SOCKET", "relative", 1), 0);
        notify_manager("READY=1");
        memset(longer, 'x', sizeof longer);
        longer[0] = '/';
        longer[sizeof longer - 1] = '\0';
        assert_int_equal(setenv("NOTIFY_SOCKET", longer, 1), 0);
        notify_manager("READY=1");
        assert_int_equal(unsetenv("NOTIFY_SOCKET"), 0);
        notify_manager("READY=1");
        char got[8];
        assert_int_equal(recv(fd, got, sizeof got, 0), -1);
        close(fd);
        unlink(path);
}

int main(void)
{
        const struct CMUnitTest tests[] = { cmocka_unit_test(test_path), cmocka_unit_test(test_abstract),
                cmocka_unit_test(test_nobody) };
        return cmocka_run_group_tests(tests, NULL, NULL);
}
