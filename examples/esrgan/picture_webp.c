#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <webp/decode.h>
#include <webp/demux.h>
#include <webp/encode.h>
#include <webp/mux.h>

#include "codec.h"
#include "command.h"
#include "files.h"

static bool read_chunk(WebPDemuxer *demuxer, const char *which, picture *out,
                       bool (*set)(picture *, const void *, size_t)) {
    WebPChunkIterator chunk;
    bool good = true;
    if (WebPDemuxGetChunk(demuxer, which, 1, &chunk)) {
        good = set(out, chunk.chunk.bytes, chunk.chunk.size);
        WebPDemuxReleaseChunkIterator(&chunk);
    }
    return good;
}

static bool read_metadata(const uint8_t *data, size_t size, picture *out) {
    WebPData whole = {data, size};
    WebPDemuxer *demuxer = WebPDemux(&whole);
    if (!demuxer) return true;
    bool good = read_chunk(demuxer, "ICCP", out, picture_set_icc) &&
                read_chunk(demuxer, "EXIF", out, picture_set_exif);
    WebPDemuxDelete(demuxer);
    return good;
}

bool webp_decode(const uint8_t *data, size_t size, const char *name, picture *out) {
    WebPBitstreamFeatures features;
    if (WebPGetFeatures(data, size, &features) != VP8_STATUS_OK) {
        complain("%s: damaged WebP", name);
        return false;
    }
    if (features.has_animation) {
        complain("%s: animated WebP is not supported", name);
        return false;
    }
    if (!picture_make(out, name, features.width, features.height, features.has_alpha ? 4 : 3, 8))
        return false;
    size_t room = (size_t)out->pixels.stride * (size_t)out->pixels.height;
    uint8_t *(*into)(const uint8_t *, size_t, uint8_t *, size_t, int) =
        features.has_alpha ? WebPDecodeRGBAInto : WebPDecodeRGBInto;
    if (!into(data, size, out->pixels.data, room, (int)out->pixels.stride)) {
        complain("%s: damaged WebP: the pixels cannot be decoded", name);
        return false;
    }
    return read_metadata(data, size, out);
}

/* The picture compressed, without any metadata. */
static bool compress(const char *name, const picture *p, int quality, bool lossless,
                     WebPMemoryWriter *memory) {
    WebPConfig config;
    WebPPicture webp;
    if (!WebPConfigInit(&config) || !WebPPictureInit(&webp)) {
        complain("%s: libwebp is of another version", name);
        return false;
    }
    config.quality = (float)quality;
    config.exact = 1;
    config.use_sharp_yuv = 1; /* colour is halved: at least with care */
    if (lossless) {
        config.lossless = 1;
        config.quality = 50; /* effort, not loss */
    }
    webp.use_argb = 1;
    webp.width = p->pixels.width;
    webp.height = p->pixels.height;
    webp.writer = WebPMemoryWrite;
    webp.custom_ptr = memory;
    int imported = p->pixels.channels == 4
                       ? WebPPictureImportRGBA(&webp, p->pixels.data, (int)p->pixels.stride)
                       : WebPPictureImportRGB(&webp, p->pixels.data, (int)p->pixels.stride);
    bool good = imported && WebPEncode(&config, &webp);
    if (!good) complain("%s: WebP encoding failed (error %d)", name, (int)webp.error_code);
    WebPPictureFree(&webp);
    return good;
}

static bool assemble(const char *name, const picture *p, const WebPData *bare, WebPData *whole) {
    WebPMux *mux = WebPMuxNew();
    bool good = mux && WebPMuxSetImage(mux, bare, 0) == WEBP_MUX_OK;
    WebPData icc = {p->icc, p->icc_size}, exif = {p->exif, p->exif_size};
    if (good && p->icc) good = WebPMuxSetChunk(mux, "ICCP", &icc, 0) == WEBP_MUX_OK;
    if (good && p->exif) good = WebPMuxSetChunk(mux, "EXIF", &exif, 0) == WEBP_MUX_OK;
    if (good) good = WebPMuxAssemble(mux, whole) == WEBP_MUX_OK;
    if (!good) complain("%s: WebP with its metadata could not be put together", name);
    WebPMuxDelete(mux);
    return good;
}

bool webp_encode(FILE *to, const char *name, const picture *p, int quality, bool lossless) {
    if (p->pixels.width > WEBP_MAX_DIMENSION || p->pixels.height > WEBP_MAX_DIMENSION) {
        complain("%s: %dx%d is too large for WebP (at most %d pixels a side); choose PNG", name,
                 p->pixels.width, p->pixels.height, WEBP_MAX_DIMENSION);
        return false;
    }
    WebPMemoryWriter memory;
    WebPMemoryWriterInit(&memory);
    WebPData whole = {NULL, 0};
    bool good = compress(name, p, quality, lossless, &memory);
    if (good) {
        WebPData bare = {memory.mem, memory.size};
        good = assemble(name, p, &bare, &whole);
    }
    if (good && fwrite(whole.bytes, 1, whole.size, to) != whole.size) {
        complain("%s: writing failed: %s", name, strerror(errno));
        good = false;
    }
    WebPDataClear(&whole);
    WebPMemoryWriterClear(&memory);
    return good;
}
