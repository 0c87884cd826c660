#include "compare.h"
bool extract_layer(const compare_settings *settings, const graph *g, const trace_file *ref,
                   const trace_file *test, const tensor *input, const char *name) { (void)settings;(void)g;(void)ref;(void)test;(void)input;(void)name; return true; }
