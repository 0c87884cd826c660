#include "compare.h"
bool report_html(const comparison *result, const char *path) { (void)result; (void)path; return true; }
