#include "cli/passphrase.h"

#include <stdio.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include "wire/base/mem.h"

#define PASSPHRASE_SIZE 1026 /* with newline and NUL */

static void set_echo(bool on)
{
        struct termios t;
        if (tcgetattr(STDIN_FILENO, &t) != 0) return;
        if (on) t.c_lflag |= ECHO;
        else t.c_lflag &= ~(tcflag_t)ECHO;
        (void)tcsetattr(STDIN_FILENO, TCSAFLUSH, &t);
}

static int read_one(struct cli_call *call, const char *what, char out[PASSPHRASE_SIZE])
{
        bool terminal = isatty(STDIN_FILENO) == 1;
        if (terminal) {
                fprintf(stderr, "%s: ", what);
                set_echo(false);
        }
        bool got = fgets(out, PASSPHRASE_SIZE, stdin) != NULL;
        if (terminal) {
                set_echo(true);
                fputc('\n', stderr);
        }
        size_t n = got ? strlen(out) : 0;
        if (n > 0 && out[n - 1] == '\n') out[--n] = '\0';
        else if (n == PASSPHRASE_SIZE - 1)
                return cli_problem(call, "%s: longer than %d bytes", what, PASSPHRASE_SIZE - 2);
        return n > 0 ? 0 : cli_problem(call, "%s: none was given on standard input", what);
}

/* On a terminal a new one is asked for twice: nobody sees a slip. */
static int read_new(struct cli_call *call, const char *what, char out[PASSPHRASE_SIZE])
{
        char again[PASSPHRASE_SIZE];
        int err = read_one(call, what, out);
        if (err != 0 || isatty(STDIN_FILENO) != 1) return err;
        err = read_one(call, "The same again", again);
        if (err == 0 && strcmp(out, again) != 0) err = cli_problem(call, "the two differ");
        secret_wipe(again, sizeof again);
        return err;
}

/* Takes it over as text of the body, and wipes it. */
static json_t *take(char s[PASSPHRASE_SIZE])
{
        json_t *text = json_string(s);
        secret_wipe(s, PASSPHRASE_SIZE);
        return text;
}

static int done(struct cli_call *call)
{
        return call->body != NULL ? 0 : cli_problem(call, "a passphrase is text in UTF-8");
}

int before_passphrase_create(struct cli_call *call)
{
        char s[PASSPHRASE_SIZE];
        int err = read_new(call, "New master passphrase", s);
        if (err != 0) return err;
        call->body = json_pack("{so}", "new_passphrase", take(s));
        return done(call);
}

int before_passphrase_enter(struct cli_call *call)
{
        char s[PASSPHRASE_SIZE];
        int err = read_one(call, "Master passphrase", s);
        if (err != 0) return err;
        call->body = take(s);
        return done(call);
}

int before_passphrase_modify(struct cli_call *call)
{
        char old[PASSPHRASE_SIZE], s[PASSPHRASE_SIZE];
        int err = read_one(call, "Present master passphrase", old);
        if (err == 0) err = read_new(call, "New master passphrase", s);
        if (err != 0) {
                secret_wipe(old, sizeof old);
                return err;
        }
        call->body = json_pack("{soso}", "old_passphrase", take(old), "new_passphrase", take(s));
        return done(call);
}

static int put(struct cli_call *call, const char *what, const char *target, char s[PASSPHRASE_SIZE])
{
        json_t *text = take(s);
        if (text == NULL) return cli_problem(call, "%s: this is not text in UTF-8", what);
        cli_body_put(call, target, text);
        call->secret = true;
        return 0;
}

int cli_secret_ask(struct cli_call *call, const char *what, const char *target)
{
        char s[PASSPHRASE_SIZE];
        int err = read_one(call, what, s);
        return err != 0 ? err : put(call, what, target, s);
}

int cli_secret_new(struct cli_call *call, const char *what, const char *target)
{
        char s[PASSPHRASE_SIZE];
        int err = read_new(call, what, s);
        return err != 0 ? err : put(call, what, target, s);
}

int before_volume_passphrase(struct cli_call *call)
{
        return cli_secret_new(call, "New passphrase of the volume", "/new_passphrase");
}

int before_volume_create(struct cli_call *call)
{
        if (json_object_get(call->values, "--passphrase") == NULL) return 0;
        return cli_secret_new(call, "Passphrase of the volume", "/passphrase");
}
