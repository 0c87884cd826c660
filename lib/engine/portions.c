#include "engine/portions.h"

#include "engine/stretch.h"

void es_portions_deal(es_portions *hands, int count, int member, int members) {
    const int first = (int)((int64_t)count * member / members);
    const int end = (int)((int64_t)count * (member + 1) / members);
    atomic_store(&hands[member].left, es_stretch(first, end));
}

bool es_portions_take(es_portions *hands, int member, int members, int *number) {
    for (int i = 0; i < members; i++) {
        es_portions *hand = &hands[(member + i) % members];
        uint64_t left = atomic_load(&hand->left);
        for (;;) {
            const int first = es_stretch_first(left), end = es_stretch_end(left);
            if (first == end) break;
            *number = i == 0 ? first : end - 1;
            const uint64_t rest = i == 0 ? es_stretch(first + 1, end) : es_stretch(first, end - 1);
            if (atomic_compare_exchange_weak(&hand->left, &left, rest)) return true;
        }
    }
    return false;
}
