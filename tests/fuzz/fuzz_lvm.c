/* The output of lvs and vgs, and tags: whatever comes, rows are within bounds, and a mark that is read can be written again. */
#include <string.h>

#include "satellite/provider/lvm_report.h"
#include "tests/fuzz/fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
        struct arena a = { .limit_bytes = 16 << 20 };
        struct lvm_lv *lv;
        struct lvm_vg *vg;
        uint32_t n;
        const char *line = NULL;
        char *text = arena_alloc(&a, size + 1);
        if (size > 0) memcpy(text, data, size);
        if (lvm_parse_vgs(text, &a, &vg, &n, &line) == 0)
                for (uint32_t i = 0; i < n; i++)
                        FUZZ_CHECK(vg[i].free_bytes <= vg[i].size_bytes && vg[i].name[0] != '\0');
        if (lvm_parse_lvs(text, &a, &lv, &n, &line) != 0) n = 0;
        for (uint32_t i = 0; i < n; i++) {
                struct dev d = { 0 }, again = { 0 };
                char tag[LVM_TAG_SIZE];
                FUZZ_CHECK(lv[i].data_percent <= 100 && lvm_name_valid(lv[i].name, strlen(lv[i].name)));
                if (!lvm_read_mark(lv[i].tags, &a, &d) || lvm_write_mark(&d, tag) != 0) continue;
                FUZZ_CHECK(lvm_read_mark(tag, &a, &again));
                FUZZ_CHECK(strcmp(d.uuid, again.uuid) == 0 && d.volume_number == again.volume_number);
                FUZZ_CHECK(strcmp(d.rsc_name, again.rsc_name) == 0);
        }
        arena_done(&a);
        return 0;
}
