// The library from C++11: handles that free themselves, statuses that become exceptions.
//
//     minimal_cxx MODEL.pth
//
// upscales a small gradient and says what it did.

#include <cstdint>
#include <iostream>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <esrgan.h>

namespace {

struct Release {
    void operator()(esrgan_model *model) const { esrgan_model_free(model); }
    void operator()(esrgan_session *session) const { esrgan_session_free(session); }
};
using Model = std::unique_ptr<esrgan_model, Release>;
using Session = std::unique_ptr<esrgan_session, Release>;

void check(esrgan_status status, const esrgan_error &error) {
    if (status != ESRGAN_OK)
        throw std::runtime_error(std::string(esrgan_status_text(status)) + ": " + error.message);
}

Model open(const std::string &path) {
    esrgan_model *model = nullptr;
    esrgan_error error;
    check(esrgan_open_file(path.c_str(), nullptr, &model, &error), error);
    return Model(model);
}

Session make_session(const Model &model, esrgan_precision precision) {
    esrgan_session_options options;
    esrgan_session_options_init(&options);
    options.precision = precision;
    esrgan_session *session = nullptr;
    esrgan_error error;
    check(esrgan_session_create(model.get(), &options, &session, &error), error);
    return Session(session);
}

// Rows of interleaved 8-bit samples.
struct Picture {
    int width, height;
    std::vector<std::uint8_t> samples;

    Picture(int w, int h)
        : width(w), height(h),
          samples(3 * static_cast<std::size_t>(w) * static_cast<std::size_t>(h)) {}

    esrgan_picture view() {
        return esrgan_picture{width,         height, 3, 8, 3 * static_cast<std::ptrdiff_t>(width),
                              samples.data()};
    }
};

Picture upscale(const Session &session, Picture &in, int scale) {
    Picture out(in.width * scale, in.height * scale);
    const esrgan_picture from = in.view(), to = out.view();
    esrgan_error error;
    check(esrgan_upscale(session.get(), &from, &to, &error), error);
    return out;
}

} // namespace

int main(int argc, char **argv) {
    if (argc != 2) {
        std::cerr << "usage: minimal_cxx MODEL.pth\n";
        return 2;
    }
    try {
        const Model model = open(argv[1]);
        esrgan_model_info info = esrgan_model_info();
        info.size = sizeof info;
        esrgan_error error;
        check(esrgan_model_get_info(model.get(), &info, &error), error);

        Picture in(24, 16);
        for (std::size_t i = 0; i < in.samples.size(); i++)
            in.samples[i] = static_cast<std::uint8_t>(i % 3 == 0 ? i / 5 : 255 - i / 6);
        const Session session = make_session(model, ESRGAN_FP32);
        const Picture out = upscale(session, in, info.scale);
        std::cout << info.family << " x" << info.scale << ": " << in.width << "x" << in.height
                  << " -> " << out.width << "x" << out.height << "\n";
    } catch (const std::exception &problem) {
        std::cerr << "minimal_cxx: " << problem.what() << "\n";
        return 1;
    }
    return 0;
}
