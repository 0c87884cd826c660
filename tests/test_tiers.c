/*
 * Which tier does the work: one for each precision, usable, the one that a session then reports;
 * each can be forced or says why not.  Where the machine is known (an emulated one), the choice has
 * to be the one in ESRGAN_TEST_TIERS: names for fp32, fp16 and bf16, separated by spaces.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "esrgan.h"
#include "support/model.h"

static esrgan_tier tier_at(int index) {
    esrgan_tier tier = {.size = sizeof tier};
    assert_int_equal(esrgan_tier_get(index, &tier, NULL), ESRGAN_OK);
    return tier;
}

static int chosen_for(const esrgan_tier *tier, esrgan_precision precision) {
    return precision == ESRGAN_FP32   ? tier->chosen_fp32
           : precision == ESRGAN_FP16 ? tier->chosen_fp16
                                      : tier->chosen_bf16;
}

static esrgan_status session_of(const esrgan_model *model, const char *isa,
                                esrgan_precision precision, esrgan_session_info *info,
                                esrgan_error *error) {
    esrgan_session_options o;
    esrgan_session_options_init(&o);
    o.backend = isa ? ESRGAN_NATIVE : ESRGAN_AUTO;
    o.isa = isa;
    o.precision = precision;
    o.threads = 1;
    esrgan_session *session;
    esrgan_status status = esrgan_session_create(model, &o, &session, error);
    if (status != ESRGAN_OK) return status;
    *info = (esrgan_session_info){.size = sizeof *info};
    assert_int_equal(esrgan_session_get_info(session, info, NULL), ESRGAN_OK);
    esrgan_session_free(session);
    return status;
}

static void one_tier_is_chosen_and_runs(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    char wanted[64] = "";
    const char *known = getenv("ESRGAN_TEST_TIERS");
    if (known != NULL) snprintf(wanted, sizeof wanted, "%s", known);
    char *rest = wanted;
    for (int p = ESRGAN_FP32; p <= ESRGAN_BF16; p++) {
        const char *chosen = NULL, *want = strtok_r(rest, " ", &rest);
        for (int i = 0; i < esrgan_tier_count(); i++) {
            esrgan_tier tier = tier_at(i);
            if (!chosen_for(&tier, (esrgan_precision)p)) continue;
            assert_null(chosen);
            assert_true(tier.usable);
            chosen = tier.name;
        }
        assert_non_null(chosen);
        if (known != NULL) assert_string_equal(chosen, want != NULL ? want : "(no name given)");
        esrgan_session_info info;
        assert_int_equal(session_of(model, NULL, (esrgan_precision)p, &info, NULL), ESRGAN_OK);
        assert_string_equal(info.backend, "native");
        assert_string_equal(info.tier, chosen);
        print_message("precision %d: %s\n", p, chosen);
    }
    esrgan_model_free(model);
}

static void each_tier_can_be_forced_or_says_why_not(void **state) {
    (void)state;
    esrgan_model *model = model_x4();
    for (int i = 0; i < esrgan_tier_count(); i++) {
        esrgan_tier tier = tier_at(i);
        assert_true(strlen(tier.why) > 0);
        esrgan_session_info info;
        esrgan_error error;
        /* Some compute in one half precision and nothing else. */
        esrgan_precision precision = strstr(tier.name, "fp16") ? ESRGAN_FP16 : ESRGAN_BF16;
        esrgan_status status = session_of(model, tier.name, precision, &info, &error);
        if (tier.usable) {
            assert_int_equal(status, ESRGAN_OK);
            assert_string_equal(info.tier, tier.name);
        } else {
            assert_int_equal(status, ESRGAN_E_UNSUPPORTED);
            assert_non_null(strstr(error.message, "lacks"));
        }
    }
    esrgan_model_free(model);
}

int main(void) {
    unsetenv("ESRGAN_ISA");
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_tier_is_chosen_and_runs),
        cmocka_unit_test(each_tier_can_be_forced_or_says_why_not),
    };
    return cmocka_run_group_tests_name("tiers", tests, NULL, NULL);
}
