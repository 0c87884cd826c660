/* Dealing rows and portions out: each once, more to who is faster, and nobody idle while others have
 * much. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/threads.h"
#include "engine/deal.h"
#include "engine/portions.h"
#include "engine/stretch.h"
#include "support/slow.h"

enum { MOST_ROWS = 5000, MOST_MEMBERS = 16 };

/* Claims up to `count` of the member's next rows; returns how many it got. */
static int claim(es_deal *deal, int member, int count) {
    int first;
    if (!es_deal_next(deal, member, &first)) return 0;
    es_deal_claim(deal, member, first + count);
    return es_deal_claimed(deal, member) - first;
}

/* Where each member's rows start and end. */
static void stretches_are(es_deal *deal, const int (*want)[2], int members) {
    for (int m = 0; m < members; m++) {
        int first = es_deal_claimed(deal, m);
        assert_int_equal(first, want[m][0]);
        assert_int_equal(es_deal_claim(deal, m, first), want[m][1]);
    }
}

static void the_first_round_is_even(void **state) {
    (void)state;
    es_deal_hand hands[MOST_MEMBERS];
    es_deal deal;
    es_deal_init(&deal, hands, 3);
    es_deal_start(&deal, 100);
    stretches_are(&deal, (const int[][2]){{0, 33}, {33, 67}, {67, 100}}, 3);
    assert_true(es_deal_done(&deal) == 0);
    /* Fewer rows than members: whoever gets none has nothing to take over either. */
    es_deal_start(&deal, 1);
    int first, got = 0;
    for (int m = 0; m < 3; m++)
        if (es_deal_next(&deal, m, &first)) got += claim(&deal, m, 5);
    assert_int_equal(got, 1);
    assert_true(es_deal_done(&deal) == 1);
}

static void claims_end_where_the_stretch_ends(void **state) {
    (void)state;
    es_deal_hand hands[2];
    es_deal deal;
    es_deal_init(&deal, hands, 2);
    es_deal_start(&deal, 40);
    assert_int_equal(es_deal_claim(&deal, 0, 15), 20);
    assert_int_equal(es_deal_claimed(&deal, 0), 15);
    assert_true(es_deal_done(&deal) == 15.0 / 40);
    assert_int_equal(es_deal_claim(&deal, 0, 10), 20); /* is claimed already */
    assert_int_equal(es_deal_claimed(&deal, 0), 15);
    assert_int_equal(es_deal_claim(&deal, 0, 100), 20);
    assert_int_equal(es_deal_claimed(&deal, 0), 20);
    assert_int_equal(es_deal_claimed(&deal, 1), 20);
    assert_int_equal(es_deal_claim(&deal, 1, 21), 40);
}

static void the_back_is_taken_over(void **state) {
    (void)state;
    es_deal_hand hands[3];
    es_deal deal;
    int first;
    es_deal_init(&deal, hands, 3);
    es_deal_start(&deal, 150);
    assert_int_equal(claim(&deal, 0, 10), 10);
    assert_int_equal(claim(&deal, 1, 30), 30);
    assert_int_equal(claim(&deal, 2, 50), 50);
    /* From the slowest, 40 rows left: as five to one, but for what a cut costs. */
    assert_true(es_deal_next(&deal, 2, &first));
    assert_in_range(first, 15, 20);
    assert_int_equal(es_deal_claim(&deal, 2, first), 50);
    assert_int_equal(es_deal_claim(&deal, 0, 10), first);
    assert_int_equal(es_deal_claimed(&deal, 0), 10);
    /* What is claimed stays, and little is not worth it. */
    assert_int_equal(claim(&deal, 2, 50), 50 - first);
    assert_int_equal(claim(&deal, 1, 13), 13);
    assert_int_equal(es_deal_claim(&deal, 0, 14), first);
    assert_false(es_deal_next(&deal, 2, &first));
    while (claim(&deal, 0, 3) + claim(&deal, 1, 3) > 0) continue;
    assert_true(es_deal_done(&deal) == 1);
}

/* Where the slowest has too few rows left to be worth it, the next one's are taken. */
static void others_are_looked_at_too(void **state) {
    (void)state;
    es_deal_hand hands[3];
    es_deal deal;
    int first;
    es_deal_init(&deal, hands, 3);
    es_deal_start(&deal, 150);
    assert_int_equal(claim(&deal, 2, 50), 50);
    while (es_deal_claim(&deal, 0, 0) > 6) assert_true(claim(&deal, 2, 50) > 0);
    assert_int_equal(claim(&deal, 1, 20), 20);
    int left = es_deal_claim(&deal, 1, 0) - es_deal_claimed(&deal, 1);
    assert_in_range(left, 15, 30);
    assert_true(es_deal_next(&deal, 2, &first));
    assert_in_range(first, 71, 90);
    assert_int_equal(es_deal_claim(&deal, 1, 0), first);
}

/* One of two members takes ten times as long: it comes to be dealt less, until that changes. */
static void the_slow_are_dealt_less(void **state) {
    (void)state;
    es_deal_hand hands[2];
    es_deal deal;
    es_deal_init(&deal, hands, 2);
    for (int round = 0; round < 10; round++) {
        int slow = round < 5, first;
        es_deal_start(&deal, 64);
        int end = es_deal_claim(&deal, 0, 0); /* of member 0's rows */
        assert_in_range(end, 64 / 10, 64 - 64 / 10);
        if (round > 0 && round <= 5) assert_true(end > 36);
        if (round > 6) assert_true(end < 28);
        for (int m = 0; m < 2; m++) {
            assert_true(es_deal_next(&deal, m, &first));
            es_deal_claim(&deal, m, 64);
        }
        for (int m = 0; m < 2; m++) {
            assert_false(es_deal_next(&deal, m, &first));
            assert_true(hands[m].began > 0 && hands[m].ended >= hands[m].began);
            /* As if it had taken this long: a busy machine must not be what is measured. */
            hands[m].ended = hands[m].began + (m == slow ? 0.020 : 0.002);
        }
    }
}

typedef struct field {
    es_deal deal;
    es_deal_hand hands[MOST_MEMBERS];
    int cells[MOST_ROWS]; /* plain on purpose: nobody else may have the same row */
} field;

static void plough(void *context, int member, int members) {
    field *f = context;
    unsigned luck = (unsigned)(member * 77 + members);
    for (int first; es_deal_next(&f->deal, member, &first);) {
        for (int end = first, mine = first; mine <= end;) {
            luck = luck * 1664525 + 1013904223;
            end = es_deal_claim(&f->deal, member, mine + 1 + (int)(luck >> 29));
            int claimed = es_deal_claimed(&f->deal, member);
            if (claimed == mine) break;
            for (; mine < claimed; mine++) f->cells[mine]++;
            if (luck >> 24 < 8) usleep((unsigned)member * 20);
        }
    }
}

static void every_row_is_claimed_once(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 7, 16};
    field *f = malloc(sizeof *f);
    assert_non_null(f);
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        const esrgan_allocator a = es_allocator(NULL);
        es_team *team = NULL;
        assert_int_equal(es_team_create(&team, sizes[s], &a, NULL), ESRGAN_OK);
        memset(f->cells, 0, sizeof f->cells);
        es_deal_init(&f->deal, f->hands, sizes[s]);
        for (int round = 0; round < 60; round++) {
            int rows = round % 10 == 9 ? MOST_ROWS : 1 + round * round;
            es_deal_start(&f->deal, rows);
            es_team_run(team, plough, f);
            assert_true(es_deal_done(&f->deal) == 1);
            for (int y = 0; y < MOST_ROWS; y++) {
                if (f->cells[y] != (y < rows))
                    fail_msg("%d members, %d rows: row %d was claimed %d times", sizes[s], rows, y,
                             f->cells[y]);
                f->cells[y] = 0;
            }
        }
        es_team_free(team);
    }
    free(f);
}

/* ---- Portions of small tasks ---------------------------------------------------------------- */

static void portions_go_to_their_owners_first(void **state) {
    (void)state;
    es_portions hands[3];
    es_pace paces[3] = {0};
    es_portions_deal(hands, paces, 3, 10);
    /* 0 1 2, 3 4 5, 6 7 8 9: one's own from the front, then the next one's from the back. */
    static const int of_one[] = {3, 4, 5, 9, 8}, of_two[] = {6, 7, 2, 1, 0};
    int first = -1, end = -1;
    for (int i = 0; i < 5; i++) {
        assert_true(es_portions_take(hands, 1, 3, 1, &first, &end));
        assert_int_equal(first, of_one[i]);
        assert_int_equal(end, of_one[i] + 1);
    }
    for (int i = 0; i < 5; i++) {
        assert_true(es_portions_take(hands, 2, 3, 1, &first, &end));
        assert_int_equal(first, of_two[i]);
    }
    for (int m = 0; m < 3; m++) assert_false(es_portions_take(hands, m, 3, 1, &first, &end));
    es_portions_deal(hands, paces, 3, 0);
    assert_false(es_portions_take(hands, 0, 3, 1, &first, &end));
}

/* Ten of a member's own, four at most at once: 4 3 3, not 4 4 2; another's come from the back. */
static void portions_are_of_one_size(void **state) {
    (void)state;
    es_portions hands[2];
    es_pace paces[2] = {0};
    int first, end;
    es_portions_deal(hands, paces, 2, 20);
    static const int cuts[] = {0, 4, 7, 10};
    for (int i = 0; i < 3; i++) {
        assert_true(es_portions_take(hands, 0, 2, 4, &first, &end));
        assert_int_equal(first, cuts[i]);
        assert_int_equal(end, cuts[i + 1]);
    }
    assert_true(es_portions_take(hands, 0, 2, 4, &first, &end));
    assert_int_equal(first, 16);
    assert_int_equal(end, 20);
}

/* What each of three members is dealt of 120 units. */
static void shares_of(const es_pace *paces, int *shares) {
    es_portions hands[3];
    es_portions_deal(hands, paces, 3, 120);
    for (int m = 0, next = 0; m < 3; m++) {
        const uint64_t left = atomic_load(&hands[m].left);
        assert_int_equal(es_stretch_first(left), next);
        next = es_stretch_end(left);
        shares[m] = next - es_stretch_first(left);
        assert_true(m < 2 || next == 120);
    }
}

static void portions_go_by_pace(void **state) {
    (void)state;
    es_pace paces[3] = {0};
    int shares[3];
    /* Nothing is known of one of them: evenly. */
    es_pace_learn(&paces[0], 10, 1);
    es_pace_learn(&paces[2], 10, 2);
    shares_of(paces, shares);
    for (int m = 0; m < 3; m++) assert_int_equal(shares[m], 40);
    /* Work a second 10, 10, 5; ten times as much of both says the same. */
    es_pace_learn(&paces[1], 100, 10);
    shares_of(paces, shares);
    assert_int_equal(shares[0], 48);
    assert_int_equal(shares[1], 48);
    assert_int_equal(shares[2], 24);
    /* An interruption changes little, what lasts changes all. */
    es_pace_learn(&paces[0], 10, 1000);
    shares_of(paces, shares);
    assert_in_range(shares[0], 44, 47);
    for (int i = 0; i < 200; i++) es_pace_learn(&paces[0], 10, 2);
    shares_of(paces, shares);
    assert_int_equal(shares[0], 30);
    assert_int_equal(shares[1], 60);
    /* Nearly even is even; a member that stands still is asked for a little again and again. */
    es_pace alike[3] = {{0.100}, {0.104}, {0.102}}, still[3] = {{0.1}, {0.1}, {1e9}};
    shares_of(alike, shares);
    for (int m = 0; m < 3; m++) assert_int_equal(shares[m], 40);
    shares_of(still, shares);
    assert_in_range(shares[2], 5, 15);
}

typedef struct pile {
    es_portions hands[2][MOST_MEMBERS];
    es_pace paces[MOST_MEMBERS];
    es_team *team;
    int count;
    atomic_int taken[MOST_ROWS];
} pile;

enum { TASKS = 300 };

/* Task by task, each dealt while members are at the one before; the first member is slow. */
static void work_off(void *context, int member, int members) {
    pile *p = context;
    if (member == 0) es_portions_deal(p->hands[0], p->paces, members, p->count);
    es_team_barrier(p->team);
    for (int task = 0; task < TASKS; task++) {
        if (member == 0) es_portions_deal(p->hands[(task + 1) & 1], p->paces, members, p->count);
        for (int i, end; es_portions_take(p->hands[task & 1], member, members, 3, &i, &end);) {
            for (; i < end; i++) atomic_fetch_add(&p->taken[i], 1);
            for (volatile int k = member == 0 ? 2000 : 20; k > 0; k--) continue;
            es_pace_learn(&p->paces[member], 1, member == 0 ? 100 : 1);
        }
        es_team_barrier(p->team);
    }
}

static void every_portion_is_taken_once(void **state) {
    (void)state;
    static const int sizes[] = {1, 2, 3, 7}, counts[] = {1, 2, 5, 40};
    pile *p = calloc(1, sizeof *p);
    assert_non_null(p);
    const esrgan_allocator a = es_allocator(NULL);
    for (int s = 0; s < 4; s++) {
        assert_int_equal(es_team_create(&p->team, sizes[s], &a, NULL), ESRGAN_OK);
        for (int c = 0; c < 4; c++) {
            p->count = counts[c];
            for (int m = 0; m < sizes[s]; m++) atomic_store(&p->paces[m].cost, 0);
            es_team_run(p->team, work_off, p);
            for (int i = 0; i < MOST_ROWS; i++) {
                assert_int_equal(atomic_load(&p->taken[i]), i < p->count ? TASKS : 0);
                atomic_store(&p->taken[i], 0);
            }
        }
        es_team_free(p->team);
    }
    free(p);
}

int main(void) {
    const struct CMUnitTest deal[] = {
        cmocka_unit_test(the_first_round_is_even),
        cmocka_unit_test(claims_end_where_the_stretch_ends),
        cmocka_unit_test(the_back_is_taken_over),
        cmocka_unit_test(others_are_looked_at_too),
        cmocka_unit_test(the_slow_are_dealt_less),
        cmocka_unit_test(every_row_is_claimed_once),
        cmocka_unit_test(portions_go_to_their_owners_first),
        cmocka_unit_test(portions_are_of_one_size),
        cmocka_unit_test(portions_go_by_pace),
        cmocka_unit_test(every_portion_is_taken_once),
    };
    return cmocka_run_group_tests(deal, NULL, NULL);
}
