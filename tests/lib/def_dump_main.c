/* def-dump: prints every declaration, or with --tags what the wire and the disk depend on (make def-dump,
 * make update-golden). */
#include "tests/lib/def_dump.h"

int main(int argc, char **argv)
{
        struct buf b = { 0 };
        if (argc > 1 && strcmp(argv[1], "--tags") == 0) def_dump_tags(&b);
        else def_dump_all(&b);
        bool ok = b.err == 0 && fwrite(b.p, 1, b.n, stdout) == b.n && fflush(stdout) == 0;
        buf_done(&b);
        return ok ? 0 : 1;
}
