// csrc/python/xla_abi.h beside the header that jaxlib comes with: nothing is run, all is in the assertions. Compiled by
// tests/test_xla_abi.py.
#include "xla/ffi/api/c_api.h"

#include "python/xla_abi.h"

using namespace onesum::xla;

#define SAME_SIZE(ours, theirs) static_assert(sizeof(ours) == sizeof(theirs) && alignof(ours) == alignof(theirs))
#define SAME(ours, member, theirs, their_member)                             \
    static_assert(offsetof(ours, member) == offsetof(theirs, their_member)); \
    static_assert(sizeof(ours::member) == sizeof(theirs::their_member))
#define SAME_HEAD(ours, theirs)                   \
    SAME(ours, struct_size, theirs, struct_size); \
    SAME(ours, extensions, theirs, extension_start)

static_assert(XLA_FFI_API_MAJOR == major_version, "read what has changed, and what xla.cpp has to do about it");

static_assert(type_int32 == int(XLA_FFI_DataType_S32) && type_int64 == int(XLA_FFI_DataType_S64));
static_assert(type_float32 == int(XLA_FFI_DataType_F32) && type_float64 == int(XLA_FFI_DataType_F64));
static_assert(stage_execute == int(XLA_FFI_ExecutionStage_EXECUTE));
static_assert(code_invalid_argument == int(XLA_FFI_Error_Code_INVALID_ARGUMENT));
static_assert(code_resource_exhausted == int(XLA_FFI_Error_Code_RESOURCE_EXHAUSTED));
static_assert(code_failed_precondition == int(XLA_FFI_Error_Code_FAILED_PRECONDITION));
static_assert(kind_buffer == int(XLA_FFI_ArgType_BUFFER) && kind_buffer == int(XLA_FFI_RetType_BUFFER));
static_assert(attribute_scalar == int(XLA_FFI_AttrType_SCALAR));
static_assert(extension_metadata == int(XLA_FFI_Extension_Metadata));

SAME_SIZE(Type, XLA_FFI_DataType);
SAME_SIZE(Stage, XLA_FFI_ExecutionStage);
SAME_SIZE(Code, XLA_FFI_Error_Code);
SAME_SIZE(Kind, XLA_FFI_ArgType);
SAME_SIZE(Kind, XLA_FFI_RetType);
SAME_SIZE(AttributeKind, XLA_FFI_AttrType);
SAME_SIZE(ExtensionKind, XLA_FFI_Extension_Type);

SAME_SIZE(Extension, XLA_FFI_Extension_Base);
SAME(Extension, struct_size, XLA_FFI_Extension_Base, struct_size);
SAME(Extension, kind, XLA_FFI_Extension_Base, type);
SAME(Extension, next, XLA_FFI_Extension_Base, next);

SAME_SIZE(Version, XLA_FFI_Api_Version);
SAME_HEAD(Version, XLA_FFI_Api_Version);
SAME(Version, major, XLA_FFI_Api_Version, major_version);
SAME(Version, minor, XLA_FFI_Api_Version, minor_version);

SAME_SIZE(ErrorRequest, XLA_FFI_Error_Create_Args);
SAME_HEAD(ErrorRequest, XLA_FFI_Error_Create_Args);
SAME(ErrorRequest, message, XLA_FFI_Error_Create_Args, message);
SAME(ErrorRequest, code, XLA_FFI_Error_Create_Args, errc);
static_assert(error_request_size == XLA_FFI_Error_Create_Args_STRUCT_SIZE);

SAME_HEAD(Api, XLA_FFI_Api);
SAME(Api, version, XLA_FFI_Api, api_version);
SAME(Api, internal, XLA_FFI_Api, internal_api);
SAME(Api, create_error, XLA_FFI_Api, XLA_FFI_Error_Create);
static_assert(least_api <= XLA_FFI_Api_STRUCT_SIZE);

SAME_SIZE(Buffer, XLA_FFI_Buffer);
SAME_HEAD(Buffer, XLA_FFI_Buffer);
SAME(Buffer, type, XLA_FFI_Buffer, dtype);
SAME(Buffer, data, XLA_FFI_Buffer, data);
SAME(Buffer, rank, XLA_FFI_Buffer, rank);
SAME(Buffer, dims, XLA_FFI_Buffer, dims);
static_assert(least_buffer == XLA_FFI_Buffer_STRUCT_SIZE);

SAME_SIZE(Buffers, XLA_FFI_Args);
SAME_HEAD(Buffers, XLA_FFI_Args);
SAME(Buffers, count, XLA_FFI_Args, size);
SAME(Buffers, kinds, XLA_FFI_Args, types);
SAME(Buffers, items, XLA_FFI_Args, args);
static_assert(least_buffers == XLA_FFI_Args_STRUCT_SIZE);

SAME_SIZE(Buffers, XLA_FFI_Rets);
SAME_HEAD(Buffers, XLA_FFI_Rets);
SAME(Buffers, count, XLA_FFI_Rets, size);
SAME(Buffers, kinds, XLA_FFI_Rets, types);
SAME(Buffers, items, XLA_FFI_Rets, rets);
static_assert(least_buffers == XLA_FFI_Rets_STRUCT_SIZE);

SAME_SIZE(Name, XLA_FFI_ByteSpan);
SAME(Name, text, XLA_FFI_ByteSpan, ptr);
SAME(Name, length, XLA_FFI_ByteSpan, len);
SAME_SIZE(Scalar, XLA_FFI_Scalar);
SAME(Scalar, type, XLA_FFI_Scalar, dtype);
SAME(Scalar, value, XLA_FFI_Scalar, value);

SAME_SIZE(Attributes, XLA_FFI_Attrs);
SAME_HEAD(Attributes, XLA_FFI_Attrs);
SAME(Attributes, count, XLA_FFI_Attrs, size);
SAME(Attributes, kinds, XLA_FFI_Attrs, types);
SAME(Attributes, names, XLA_FFI_Attrs, names);
SAME(Attributes, items, XLA_FFI_Attrs, attrs);
static_assert(least_attributes == XLA_FFI_Attrs_STRUCT_SIZE);

SAME_HEAD(CallFrame, XLA_FFI_CallFrame);
SAME(CallFrame, api, XLA_FFI_CallFrame, api);
SAME(CallFrame, context, XLA_FFI_CallFrame, ctx);
SAME(CallFrame, stage, XLA_FFI_CallFrame, stage);
SAME(CallFrame, arguments, XLA_FFI_CallFrame, args);
SAME(CallFrame, results, XLA_FFI_CallFrame, rets);
SAME(CallFrame, attributes, XLA_FFI_CallFrame, attrs);
static_assert(least_frame <= XLA_FFI_CallFrame_STRUCT_SIZE);

SAME_SIZE(Metadata, XLA_FFI_Metadata);
SAME(Metadata, struct_size, XLA_FFI_Metadata, struct_size);
SAME(Metadata, version, XLA_FFI_Metadata, api_version);
SAME(Metadata, traits, XLA_FFI_Metadata, traits);
SAME(Metadata, state_type, XLA_FFI_Metadata, state_type_id);
static_assert(least_metadata <= XLA_FFI_Metadata_STRUCT_SIZE);
SAME_SIZE(MetadataExtension, XLA_FFI_Metadata_Extension);
SAME(MetadataExtension, extension, XLA_FFI_Metadata_Extension, extension_base);
SAME(MetadataExtension, metadata, XLA_FFI_Metadata_Extension, metadata);
