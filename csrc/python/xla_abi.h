// What XLA hands to a function that a program calls through its foreign function interface, and takes back: the part of
// that C ABI which xla.cpp needs, in our own words, for a build has no headers of jaxlib. tests/xla_abi.cpp compares it
// with those.
//
// Every structure begins with its size as XLA has it, which may be more than here: members are added at the end. A size
// of 0 is never right.
#pragma once

#include <cstddef>
#include <cstdint>

namespace onesum::xla {

// Numbers of element types, those that we take.
enum Type : int { type_int32 = 4, type_int64 = 5, type_float32 = 11, type_float64 = 12 };

enum Stage : int { stage_execute = 3 };
enum Code : int { code_invalid_argument = 3, code_resource_exhausted = 8, code_failed_precondition = 9 };
enum Kind : int { kind_buffer = 1 };  // of an argument or a result
enum AttributeKind : int { attribute_scalar = 3 };
enum ExtensionKind : int { extension_metadata = 1 };  // the question what the function is, in place of a call

constexpr int major_version = 0, minor_version = 3;

struct Extension {
    size_t struct_size;
    ExtensionKind kind;
    Extension* next;
};

struct Version {
    size_t struct_size;
    Extension* extensions;
    int major, minor;
};

struct Error;  // XLA's own; null is success
struct ErrorRequest {
    size_t struct_size;
    Extension* extensions;
    const char* message;  // which is copied
    Code code;
};

struct Api {
    size_t struct_size;
    Extension* extensions;
    Version version;
    const void* internal;
    Error* (*create_error)(ErrorRequest*);
    // and more
};

// An array, in C order.
struct Buffer {
    size_t struct_size;
    Extension* extensions;
    Type type;
    void* data;
    int64_t rank;
    int64_t* dims;
};

struct Buffers {
    size_t struct_size;
    Extension* extensions;
    int64_t count;
    Kind* kinds;
    void** items;  // each one a Buffer
};

struct Name {
    const char* text;  // without a zero at its end
    size_t length;
};
struct Scalar {
    Type type;
    void* value;
};
struct Attributes {
    size_t struct_size;
    Extension* extensions;
    int64_t count;
    AttributeKind* kinds;
    Name** names;
    void** items;
};

struct CallFrame {
    size_t struct_size;
    Extension* extensions;
    const Api* api;
    void* context;
    Stage stage;
    Buffers arguments, results;
    Attributes attributes;
    // and more
};

struct Metadata {
    size_t struct_size;
    Version version;
    uint32_t traits;
    int64_t state_type;  // from minor version 3 on, whatever the size says
};
struct MetadataExtension {
    Extension extension;
    Metadata* metadata;
};

// A size up to this member, as XLA counts it: without what pads the end.
template <class S, class M> constexpr size_t size_to(size_t offset, M S::*) { return offset + sizeof(M); }
constexpr size_t least_frame = size_to(offsetof(CallFrame, attributes), &CallFrame::attributes);
constexpr size_t least_api = size_to(offsetof(Api, create_error), &Api::create_error);
constexpr size_t least_buffer = size_to(offsetof(Buffer, dims), &Buffer::dims);
constexpr size_t least_buffers = size_to(offsetof(Buffers, items), &Buffers::items);
constexpr size_t least_attributes = size_to(offsetof(Attributes, items), &Attributes::items);
constexpr size_t least_metadata = size_to(offsetof(Metadata, traits), &Metadata::traits);
constexpr size_t least_metadata_extension =
    size_to(offsetof(MetadataExtension, metadata), &MetadataExtension::metadata);
constexpr size_t error_request_size = size_to(offsetof(ErrorRequest, code), &ErrorRequest::code);

using Handler = Error*(CallFrame*);

}  // namespace onesum::xla
