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

#[cfg(test)]
mod tests {
    use tract_onnx::pb::tensor_shape_proto::Dimension;

    use super::*;
    use crate::scorer::ModelFiles;

    /// The sizes of what goes in and comes out, by name.
    fn sizes(graph: &[u8]) -> Vec<(String, Vec<Dimension>)> {
        let mut graph = ModelProto::decode(graph).unwrap().graph.unwrap();
        let GraphProto { input, output, .. } = &mut graph;
        let values = input.iter_mut().chain(output);
        values.map(|value| (value.name.clone(), shape(value).unwrap().dim.clone())).collect()
    }

    #[test]
    fn only_the_number_of_rows_is_written_into_the_graph() {
        let files = ModelFiles::builtin().unwrap();
        let fixed = with_rows(&files.graph, 4).unwrap();
        for ((name, before), (_, after)) in sizes(&files.graph).into_iter().zip(sizes(&fixed)) {
            let [rows, rest @ ..] = after.as_slice() else { panic!("{name} has no sizes") };
            assert_eq!(rows.value, Some(dimension::Value::DimValue(4)), "{name}");
            assert_eq!(rest, before.get(1..).unwrap(), "{name}");
        }
        // A number stays what it is.
        assert_eq!(sizes(&with_rows(&fixed, 16).unwrap()), sizes(&fixed));
    }

    #[test]
    fn what_is_no_graph_is_refused() {
        assert!(with_rows(b"no graph", 1).is_err());
    }
}
