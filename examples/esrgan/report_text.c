/* What a comparison found, on the terminal and as JSON. */
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "command.h"
#include "compare.h"
#include "json.h"

static const char *const STATES[] = {"ok", "drift", "away", "WRONG", "SHAPE", "missing"};

static bool worth_a_line(const comparison *r, int i, bool all) {
    if (all || r->layer_count <= 40) return r->layers[i].state != LAYER_MISSING || all;
    layer_state s = r->layers[i].state;
    return s == LAYER_WRONG || s == LAYER_SHAPE || i == r->culprit || i == r->culprit - 1 ||
           i == r->culprit + 1 || i == 0 || i == r->layer_count - 1;
}

static void print_layer(const layer_result *l) {
    char shape[40] = "", local[24] = "-", ratio[24] = "-";
    if (l->c) snprintf(shape, sizeof shape, "%dx%dx%d", l->c, l->h, l->w);
    if (l->local) {
        snprintf(local, sizeof local, "%.2e", l->local_max);
        snprintf(ratio, sizeof ratio, l->ratio < 0.01 ? "%.1e" : "%.2f", l->ratio);
    }
    printf("%-28s %-14s ", l->name, shape);
    if (l->compared)
        printf("%9.2e%s %9.2e ", l->max, l->sampled ? "~" : " ", l->relative);
    else
        printf("%9s  %9s ", "-", "-");
    printf("%9s %9s %4d  %s", local, ratio, l->span, l->identical ? "same" : STATES[l->state]);
    if (l->nonfinite) printf(" (%zu NaN/Inf)", l->nonfinite);
    putchar('\n');
}

static void print_table(const comparison *r) {
    int left_out = 0, wrong = 0;
    printf("%-28s %-14s %9s  %9s %9s %9s %4s\n", "value", "shape", "max|diff|", "rel. rms", "local",
           "/limit", "span");
    for (int i = 0; i < r->layer_count; i++) {
        bool show = worth_a_line(r, i, false);
        if (r->layers[i].state == LAYER_WRONG && ++wrong > 12) show = false;
        if (show)
            print_layer(&r->layers[i]);
        else
            left_out++;
    }
    if (left_out) printf("(%d more values; --json lists all)\n", left_out);
    printf(
        "max|diff| and rel. rms: against the reference (~: by samples).  local: against the value"
        "\nrecomputed in float64 from the tester's own input; wrong where local/limit > 1.\n\n");
}

void report_text(const comparison *r) {
    printf("reference  %s\ntest       %s\ntolerance  %s\n\n", r->ref, r->test, r->limits->name);
    if (!strcmp(r->kind, "traces")) print_table(r);
    if (r->pictured) {
        printf("PSNR %.2f dB", r->psnr);
        if (!isnan(r->ssim)) printf(", SSIM %.5f", r->ssim);
        printf("; off by 1/255 or more: %.4g %%, by more than 1: %.4g %%, than 2: %.4g %%; worst "
               "%.4g/255 at row %d, column %d, channel %d\n\n",
               100 * r->share0, 100 * r->share1, 100 * r->share2, r->max_lsb, r->worst[1],
               r->worst[2], r->worst[0]);
    }
    if (r->why.count) {
        printf("Explanations, by how much of the error goes away:\n");
        for (int i = 0; i < r->why.count && i < 6; i++) {
            const explanation *e = &r->why.items[i];
            printf("  %6.2f %%  %-22s %s: %s%s\n", 100 * e->explained, e->id, e->layer, e->text,
                   e->fits ? " [fits]" : "");
        }
        putchar('\n');
    }
    for (int i = 0; i < r->note_count; i++) printf("Note: %s.\n", r->notes[i]);
    printf("%s\n", r->verdict);
}

static void json_layers(json *j, const comparison *r) {
    json_list(j, "layers");
    for (int i = 0; i < r->layer_count; i++) {
        const layer_result *l = &r->layers[i];
        json_object(j, NULL);
        json_text(j, "name", l->name);
        json_text(j, "op", l->op);
        json_text(j, "state", STATES[l->state]);
        if (l->compared) {
            json_bool(j, "sampled", l->sampled);
            json_bool(j, "identical", l->identical);
            json_number(j, "max", l->max);
            json_number(j, "mean", l->mean);
            json_number(j, "rms", l->rms);
            json_number(j, "relative_rms", l->relative);
            json_integer(j, "nonfinite", (int64_t)l->nonfinite);
            json_list(j, "worst");
            for (int k = 0; k < 3; k++) json_integer(j, NULL, l->worst[k]);
            json_close_list(j);
        }
        if (l->local) {
            json_number(j, "local_max", l->local_max);
            json_number(j, "local_rms", l->local_rms);
            json_number(j, "local_over_limit", l->ratio);
            json_integer(j, "span", l->span);
        }
        json_close_object(j);
    }
    json_close_list(j);
}

static void json_explanations(json *j, const comparison *r) {
    json_list(j, "explanations");
    for (int i = 0; i < r->why.count && i < 20; i++) {
        const explanation *e = &r->why.items[i];
        json_object(j, NULL);
        json_text(j, "id", e->id);
        json_text(j, "layer", e->layer);
        json_text(j, "text", e->text);
        json_text(j, "kind", e->kind == EXPLAINS_WHERE ? "place" : "cause");
        json_number(j, "explained", e->explained);
        json_number(j, "residual_rms", e->rms);
        json_number(j, "residual_max", e->max);
        json_bool(j, "fits", e->fits);
        json_close_object(j);
    }
    json_close_list(j);
}

bool report_json(const comparison *r, FILE *to) {
    json j;
    const explanation *best = explanations_best(&r->why);
    json_begin(&j, to);
    json_text(&j, "kind", r->kind);
    json_text(&j, "reference", r->ref);
    json_text(&j, "test", r->test);
    json_text(&j, "tolerance", r->limits->name);
    json_bool(&j, "match", r->match);
    json_text(&j, "verdict", r->verdict);
    json_text(&j, "culprit", r->culprit >= 0 ? r->layers[r->culprit].name : NULL);
    json_text(&j, "cause", best && !r->match ? best->id : NULL);
    json_text(&j, "cause_layer", best && !r->match ? best->layer : NULL);
    json_text(&j, "next_dump", r->next_dump[0] ? r->next_dump : NULL);
    if (r->pictured) {
        json_number(&j, "psnr", r->psnr);
        json_number(&j, "ssim", r->ssim);
        json_number(&j, "share_off", r->share0);
        json_number(&j, "share_over_1", r->share1);
        json_number(&j, "share_over_2", r->share2);
        json_number(&j, "max_lsb", r->max_lsb);
    }
    json_list(&j, "notes");
    for (int i = 0; i < r->note_count; i++) json_text(&j, NULL, r->notes[i]);
    json_close_list(&j);
    json_explanations(&j, r);
    json_layers(&j, r);
    json_end(&j);
    return !ferror(to);
}
