/* What a comparison found, as one HTML file: verdict, chart, pictures, tables; nothing is loaded. */
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <zlib.h>

#include "command.h"
#include "compare.h"
#include "files.h"
#include "network_input.h"

/* ---- Text ---- */

static void put_text(FILE *to, const char *text) {
    for (; *text; text++) {
        switch (*text) {
        case '&': fputs("&amp;", to); break;
        case '<': fputs("&lt;", to); break;
        case '>': fputs("&gt;", to); break;
        case '"': fputs("&quot;", to); break;
        default: putc(*text, to); break;
        }
    }
}

/* ---- Pictures as data: URIs ---- */

static void put_base64(FILE *to, const uint8_t *data, size_t size) {
    static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for (size_t i = 0; i < size; i += 3) {
        size_t left = size - i;
        uint32_t v = (uint32_t)data[i] << 16 | (left > 1 ? (uint32_t)data[i + 1] << 8 : 0) |
                     (left > 2 ? data[i + 2] : 0);
        putc(digits[v >> 18], to);
        putc(digits[v >> 12 & 63], to);
        putc(left > 1 ? digits[v >> 6 & 63] : '=', to);
        putc(left > 2 ? digits[v & 63] : '=', to);
    }
}

static uint8_t *put32(uint8_t *at, uint32_t v) {
    for (int i = 24; i >= 0; i -= 8) *at++ = (uint8_t)(v >> i);
    return at;
}

static uint8_t *png_chunk(uint8_t *at, const char *type, const uint8_t *data, size_t size) {
    at = put32(at, (uint32_t)size);
    uint8_t *start = at;
    memcpy(at, type, 4);
    if (size) memcpy(at + 4, data, size);
    at += 4 + size;
    return put32(at, (uint32_t)crc32(0, start, (uInt)(size + 4)));
}

/* An 8-bit PNG in memory, the caller's to free. */
static uint8_t *png_encode(const picture *p, size_t *size) {
    size_t row = (size_t)p->pixels.width * (size_t)p->pixels.channels;
    size_t raw = (row + 1) * (size_t)p->pixels.height;
    uLongf packed = compressBound((uLong)raw);
    uint8_t *lines = allocate(raw, 1), *data = allocate(packed, 1),
            *png = allocate(packed + 128, 1);
    if (lines && data && png) {
        for (int y = 0; y < p->pixels.height; y++) /* each line begins with filter 0: none */
            memcpy(lines + (row + 1) * (size_t)y + 1,
                   (const uint8_t *)p->pixels.data + y * p->pixels.stride, row);
        compress2(data, &packed, lines, (uLong)raw, 6);
        uint8_t head[13], *at = put32(head, (uint32_t)p->pixels.width);
        at = put32(at, (uint32_t)p->pixels.height);
        memcpy(at, (uint8_t[5]){8, p->pixels.channels == 3 ? 2 : 0, 0, 0, 0}, 5);
        memcpy(png, "\x89PNG\r\n\x1a\n", 8);
        at = png_chunk(png + 8, "IHDR", head, 13);
        at = png_chunk(at, "IDAT", data, packed);
        at = png_chunk(at, "IEND", NULL, 0);
        *size = (size_t)(at - png);
    } else {
        free(png);
        png = NULL;
    }
    free(lines);
    free(data);
    return png;
}

static bool put_picture(FILE *to, const tensor *t, const char *caption) {
    picture p = {0};
    size_t size;
    if (!tensor_to_picture(t, &p)) return false;
    uint8_t *png = png_encode(&p, &size);
    picture_free(&p);
    if (!png) return false;
    fprintf(to, "<figure><img alt=\"%s\" width=\"%d\" src=\"data:image/png;base64,", caption,
            t->w < 320   ? 320
            : t->w > 640 ? 640
                         : t->w);
    put_base64(to, png, size);
    fprintf(to, "\"><figcaption>%s</figcaption></figure>\n", caption);
    free(png);
    return true;
}

static bool put_exhibits(FILE *to, const comparison *r) {
    bool good = true;
    for (int i = 0; good && i < r->exhibit_count; i++) {
        const exhibit *x = &r->exhibits[i];
        fputs("<h3>", to);
        put_text(to, x->title);
        fputs("</h3>\n<div class=\"row\">", to);
        good = put_picture(to, &x->ref, "reference") && put_picture(to, &x->test, "test") &&
               put_picture(to, &x->difference, "difference, amplified");
        fputs("</div>\n", to);
    }
    return good;
}

/* ---- The chart ---- */

enum { CHART_W = 1000, PANEL_H = 190, LEFT = 64, RIGHT = 14 };

typedef struct axis {
    double low, high; /* powers of ten */
    int top;          /* of the panel */
} axis;

static double place_y(const axis *a, double value) {
    double v = value > 0 ? log10(value) : a->low;
    if (isinf(value)) v = a->high;
    v = fmin(fmax(v, a->low), a->high);
    return a->top + PANEL_H * (a->high - v) / (a->high - a->low);
}

static double place_x(int i, int n) {
    return LEFT + (n > 1 ? (double)(CHART_W - LEFT - RIGHT) * i / (n - 1) : 0);
}

static axis make_axis(const comparison *r, bool local, int top) {
    axis a = {local ? -2 : -6, local ? 1 : 0, top};
    for (int i = 0; i < r->layer_count; i++) {
        const layer_result *l = &r->layers[i];
        double v = local ? (l->local ? l->ratio : 0) : l->compared ? l->relative : 0;
        if (!(v > 0) || isinf(v)) continue;
        a.low = fmin(a.low, fmax(floor(log10(v)), -16));
        a.high = fmax(a.high, fmin(ceil(log10(v)), 16));
    }
    return a;
}

static void put_axis(FILE *to, const axis *a, const char *title) {
    int step = a->high - a->low > 8 ? 4 : a->high - a->low > 4 ? 2 : 1;
    fprintf(to, "<text x=\"%d\" y=\"%d\" class=\"t\">%s</text>\n", LEFT, a->top - 8, title);
    for (int e = (int)a->low; e <= (int)a->high; e += step) {
        double y = place_y(a, pow(10, e));
        fprintf(to,
                "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"g\"/>"
                "<text x=\"%d\" y=\"%.1f\" class=\"e\">1e%d</text>\n",
                LEFT, CHART_W - RIGHT, y, y, LEFT - 6, y + 4, e);
    }
}

static void put_mark(FILE *to, const comparison *r, int i, const axis *a, double value,
                     const char *class) {
    const layer_result *l = &r->layers[i];
    fprintf(to, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"%s\" class=\"%s\"><title>",
            place_x(i, r->layer_count), place_y(a, value), r->layer_count > 200 ? "2.5" : "4",
            class);
    put_text(to, l->name);
    fprintf(to, ": %.3g</title></circle>\n", value);
}

static void put_chart(FILE *to, const comparison *r) {
    axis whole = make_axis(r, false, 30), local = make_axis(r, true, 30 + PANEL_H + 50);
    bool any = false, any_local = false;
    for (int i = 0; i < r->layer_count; i++) {
        any = any || r->layers[i].compared;
        any_local = any_local || r->layers[i].local;
    }
    if (!any || r->layer_count < 2) return;
    fprintf(to, "<h2>Error by layer</h2>\n<svg id=\"chart\" viewBox=\"0 0 %d %d\" role=\"img\">\n",
            CHART_W, any_local ? local.top + PANEL_H + 30 : whole.top + PANEL_H + 30);
    put_axis(to, &whole, "accumulated: rms of (test - reference) over the reference's rms");
    if (any_local) {
        double y = place_y(&local, 1);
        put_axis(to, &local,
                 "local: error from the tester's own input over its tolerance (wrong "
                 "above 1)");
        fprintf(to, "<line x1=\"%d\" x2=\"%d\" y1=\"%.1f\" y2=\"%.1f\" class=\"limit\"/>\n", LEFT,
                CHART_W - RIGHT, y, y);
    }
    if (r->culprit >= 0) {
        double x = place_x(r->culprit, r->layer_count);
        int bottom = any_local ? local.top + PANEL_H : whole.top + PANEL_H;
        fprintf(to,
                "<line x1=\"%.1f\" x2=\"%.1f\" y1=\"%d\" y2=\"%d\" class=\"culprit\"/>"
                "<text x=\"%.1f\" y=\"%d\" class=\"c\" text-anchor=\"%s\">",
                x, x, whole.top, bottom, x, bottom + 18, x > CHART_W / 2 ? "end" : "start");
        put_text(to, r->layers[r->culprit].name);
        fputs("</text>\n", to);
    }
    fputs("<polyline class=\"line\" points=\"", to);
    for (int i = 0; i < r->layer_count; i++)
        if (r->layers[i].compared)
            fprintf(to, "%.1f,%.1f ", place_x(i, r->layer_count),
                    place_y(&whole, r->layers[i].relative));
    fputs("\"/>\n", to);
    for (int i = 0; i < r->layer_count; i++) {
        const layer_result *l = &r->layers[i];
        if (l->compared)
            put_mark(to, r, i, &whole, l->nonfinite ? INFINITY : l->relative,
                     l->state == LAYER_MATCH ? "ok" : "away");
        if (l->local) put_mark(to, r, i, &local, l->ratio, l->ratio > 1 ? "bad" : "ok");
    }
    fputs("</svg>\n", to);
}

/* ---- Tables ---- */

static void put_explanations(FILE *to, const comparison *r) {
    if (r->why.count == 0) return;
    fputs("<h2>Explanations</h2>\n<table id=\"why\"><tr><th>explains<th>what<th>where<th>what is "
          "left "
          "(rms)</tr>\n",
          to);
    for (int i = 0; i < r->why.count && i < 10; i++) {
        const explanation *e = &r->why.items[i];
        fprintf(to, "<tr%s><td class=\"n\">%.2f %%<td>", i == 0 ? " class=\"best\"" : "",
                100 * e->explained);
        put_text(to, e->text);
        fputs("<td>", to);
        put_text(to, e->layer);
        fprintf(to, "<td class=\"n\">%.3g%s</tr>\n", e->rms, e->fits ? ", within tolerance" : "");
    }
    fputs("</table>\n", to);
}

static void put_layers(FILE *to, const comparison *r) {
    static const char *const states[] = {"ok", "drift", "away", "wrong", "shape", "missing"};
    fputs(
        "<h2>Values</h2>\n<div class=\"scroll\"><table id=\"layers\"><tr><th>value<th>kind<th>shape"
        "<th>max |diff|<th>relative rms<th>local max<th>local / "
        "limit<th>recomputed<th>state</tr>\n",
        to);
    for (int i = 0; i < r->layer_count; i++) {
        const layer_result *l = &r->layers[i];
        fprintf(to, "<tr class=\"%s%s\"><td>", states[l->state], i == r->culprit ? " best" : "");
        put_text(to, l->name);
        fprintf(to, "<td>%s<td>", l->op);
        if (l->c) fprintf(to, "%d x %d x %d", l->c, l->h, l->w);
        if (l->compared)
            fprintf(to, "<td class=\"n\">%s%.3g<td class=\"n\">%.3g", l->sampled ? "~" : "", l->max,
                    l->relative);
        else
            fputs("<td><td>", to);
        if (l->local)
            fprintf(to, "<td class=\"n\">%.3g<td class=\"n\">%.3g<td class=\"n\">%d", l->local_max,
                    l->ratio, l->span);
        else
            fputs("<td><td><td>", to);
        fprintf(to, "<td>%s</tr>\n", l->identical ? "same" : states[l->state]);
    }
    fputs("</table></div>\n", to);
}

static const char STYLE[] =
    ":root{color-scheme:light dark;--good:#1a7f37;--bad:#cf222e;--line:#0969da;--soft:#8885}"
    "body{font:15px/1.5 system-ui,sans-serif;max-width:1080px;margin:2em auto;padding:0 1em}"
    "h1{font-size:1.4em}h2{font-size:1.15em;margin-top:1.8em}h3{font-size:1em}"
    "#verdict{padding:.8em 1em;border-left:6px solid;background:#8881;font-size:1.05em}"
    "#verdict.match{border-color:var(--good)}#verdict.mismatch{border-color:var(--bad)}"
    "table{border-collapse:collapse;font-size:.9em}th,td{text-align:left;padding:.2em .7em;"
    "border-bottom:1px solid "
    "var(--soft)}.n{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}"
    ".best{background:#f5a62330;font-weight:600}.wrong td:last-child,.shape td:last-child"
    "{color:var(--bad)}.missing{opacity:.5}.scroll{max-height:32em;overflow:auto}"
    ".row{display:flex;flex-wrap:wrap;gap:1em}figure{margin:0}img{image-rendering:pixelated;"
    "max-width:100%;border:1px solid var(--soft)}figcaption{font-size:.85em}"
    "svg{width:100%;height:auto;font:12px system-ui,sans-serif}svg text{fill:currentColor}"
    ".e{text-anchor:end}.t{font-weight:600}.g{stroke:var(--soft)}.line{fill:none;"
    "stroke:var(--line);stroke-opacity:.5}.limit{stroke:var(--bad);stroke-dasharray:5 4}"
    ".culprit{stroke:#f5a623;stroke-width:2}.c{font-weight:600}circle.ok{fill:var(--good)}"
    "circle.away{fill:#bf8700}circle.bad{fill:var(--bad)}";

static void put_head(FILE *to, const comparison *r) {
    fprintf(to,
            "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
            "<meta name=\"viewport\" content=\"width=device-width\">"
            "<title>esrgan compare: %s</title><style>%s</style></head><body>\n",
            r->match ? "match" : "mismatch", STYLE);
    fprintf(to, "<h1>%s compared</h1>\n<p>reference <b>",
            !strcmp(r->kind, "traces")    ? "Traces"
            : !strcmp(r->kind, "tensors") ? "Tensors"
                                          : "Pictures");
    put_text(to, r->ref);
    fputs("</b>, test <b>", to);
    put_text(to, r->test);
    fprintf(to, "</b>, tolerance <b>%s</b></p>\n<p id=\"verdict\" class=\"%s\">", r->limits->name,
            r->match ? "match" : "mismatch");
    put_text(to, r->verdict);
    fputs("</p>\n", to);
    for (int i = 0; i < r->note_count; i++) {
        fputs("<p>Note: ", to);
        put_text(to, r->notes[i]);
        fputs(".</p>\n", to);
    }
    if (!r->pictured) return;
    fprintf(to, "<p id=\"figures\">PSNR %.2f dB", r->psnr);
    if (!isnan(r->ssim)) fprintf(to, ", SSIM %.5f", r->ssim);
    fprintf(to,
            "; %.4g %% of the samples off by 1/255 or more, %.4g %% by more than 1/255, %.4g %% by "
            "more than 2/255; worst %.4g/255 at row %d, column %d, channel %d.</p>\n",
            100 * r->share0, 100 * r->share1, 100 * r->share2, r->max_lsb, r->worst[1], r->worst[2],
            r->worst[0]);
}

bool report_html(const comparison *r, const char *path) {
    file_out out;
    if (!file_create(&out, path)) return false;
    put_head(out.stream, r);
    put_explanations(out.stream, r);
    put_chart(out.stream, r);
    if (r->exhibit_count) fputs("<h2>Pictures</h2>\n", out.stream);
    bool good = put_exhibits(out.stream, r);
    if (!strcmp(r->kind, "traces")) put_layers(out.stream, r);
    fprintf(out.stream, "<p><small>esrgan %s</small></p>\n</body></html>\n",
            esrgan_version_string());
    if (good) return file_commit(&out);
    file_abandon(&out);
    return false;
}
