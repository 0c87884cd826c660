/* A network's input from a file: a picture, or a .npy tensor. */
#ifndef NETWORK_INPUT_H
#define NETWORK_INPUT_H

#include <stdbool.h>

#include "esrgan.h"
#include "picture.h"
#include "tensor.h"

/* Samples divided by 255 or 65535, channel by channel; alpha is left out. */
bool tensor_from_picture(const esrgan_picture *picture, tensor *to);

/* 8 bits a sample: clamped to 0..1, rounded to nearest.  One channel gives grey, three RGB. */
bool tensor_to_picture(const tensor *from, picture *to);

/* Is this a file that tensor_read reads, by its name (.npy, .npz)? */
bool is_tensor_name(const char *path);

/*
 * What the network with this information takes for the file.  A picture is padded by reflection at
 * the right and bottom to the multiple that the network needs, as esrgan_upscale does; *height and
 * *width get its size before.  A tensor must have that size already.  Complains.
 */
bool network_input(const char *path, const esrgan_model_info *info, tensor *to, int *height,
                   int *width);

#endif
