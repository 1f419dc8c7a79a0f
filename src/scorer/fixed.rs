//! An ONNX graph with its number of rows written into it.
//!
//! tract decides how to compute an operator before it knows the inputs. Where a size is only a name it may be zero, and
//! operators on two tensors are then computed number by number, through a function pointer: a fifth of the built-in
//! model's time.

use prost::Message as _;
use tract_onnx::pb::{
    GraphProto, ModelProto, TensorShapeProto, ValueInfoProto, tensor_shape_proto::dimension,
    type_proto,
};

/// The graph with `rows` in the place of the name that its inputs give the number of rows. Without such a name it stays
/// as it is.
pub(super) fn with_rows(graph: &[u8], rows: usize) -> Result<Vec<u8>, String> {
    let mut model = ModelProto::decode(graph).map_err(|error| error.to_string())?;
    if let Some(graph) = &mut model.graph
        && let Some(name) = rows_name(graph)
    {
        let size = i64::try_from(rows).map_err(|error| error.to_string())?;
        let GraphProto { input, output, value_info, .. } = graph;
        for value in input.iter_mut().chain(output).chain(value_info) {
            fix(value, &name, size);
        }
    }
    Ok(model.encode_to_vec())
}

/// What the inputs call their first size.
fn rows_name(graph: &mut GraphProto) -> Option<String> {
    graph.input.iter_mut().find_map(|input| match &shape(input)?.dim.first()?.value {
        Some(dimension::Value::DimParam(name)) => Some(name.clone()),
        _ => None,
    })
}

fn fix(value: &mut ValueInfoProto, name: &str, size: i64) {
    let Some(shape) = shape(value) else { return };
    for dimension in &mut shape.dim {
        if matches!(&dimension.value, Some(dimension::Value::DimParam(given)) if given == name) {
            dimension.value = Some(dimension::Value::DimValue(size));
        }
    }
}

fn shape(value: &mut ValueInfoProto) -> Option<&mut TensorShapeProto> {
    let Some(type_proto::Value::TensorType(tensor)) = &mut value.r#type.as_mut()?.value else {
        return None;
    };
    tensor.shape.as_mut()
}
