// Logits, temperatures, probabilities; strides in bytes: between rows for each, then between classes for the first and the last.
#pragma once

bool softmax_kernel(char* const* args, long rows, long n, const long* strides);
