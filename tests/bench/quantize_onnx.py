#!/usr/bin/env python3
"""Makes ONNX Runtime's fastest int8 of a graph that export_onnx.py or export_decoder_onnx.py wrote.

    quantize_onnx.py ranges IN.onnx OUT.onnx                also gives the ranges that "static" needs
    quantize_onnx.py static IN.onnx OUT.onnx RANGES.json    RANGES.json from onnxruntime.js on OUT
    quantize_onnx.py dynamic IN.onnx OUT.onnx

(needs python3-onnx). Products with weights, 1x1 convolutions included, become int8: a scale for each
output channel; activations in u8 by a range measured before (static) or found in each run (dynamic).
The rest stays f32, with GELU as one operator and layer scales folded into weights: found to be the
fastest that ONNX Runtime 1.30 does with this model, ahead of its quantize-dequantize form.

SPDX-License-Identifier: LGPL-2.1-or-later
"""
import json
import sys

import numpy as np
import onnx
from onnx import helper, numpy_helper

MICROSOFT = "com.microsoft"  # ONNX Runtime's own operators


class Graph:
    def __init__(self, path):
        self.model = onnx.load(path)
        self.weights = {w.name: w for w in self.model.graph.initializer}
        self.nodes = list(self.model.graph.node)
        self.made = []  # weights that are new

    def maker(self, name):
        return next((n for n in self.nodes if name in n.output), None)

    def users(self, name):
        return [n for n in self.nodes if name in n.input]

    def value(self, name):
        """A weight or constant as an array; None for what is computed."""
        if name in self.weights:
            return numpy_helper.to_array(self.weights[name])
        maker = self.maker(name)
        if maker is not None and maker.op_type == "Constant":
            return numpy_helper.to_array(maker.attribute[0].t)
        return None

    def add_weight(self, name, array):
        self.made.append(numpy_helper.from_array(np.asarray(array, order="C"), name))
        return name

    def save(self, path):
        graph = self.model.graph
        used = {name for node in self.nodes for name in node.input}
        kept = [w for name, w in self.weights.items() if name in used] + self.made
        for field, values in ((graph.node, self.nodes), (graph.initializer, kept)):
            del field[:]
            field.extend(values)
        self.model.opset_import.append(helper.make_opsetid(MICROSOFT, 1))
        onnx.save(self.model, path)


def fold_gelu(graph):
    """x * (erf(x / sqrt 2) + 1) * 0.5 as one node."""
    for erf in [n for n in graph.nodes if n.op_type == "Erf"]:
        divide = graph.maker(erf.input[0])
        add, = graph.users(erf.output[0])
        product, = graph.users(add.output[0])
        half, = graph.users(product.output[0])
        found = [n.op_type for n in (divide, add, product, half)]
        if found != ["Div", "Add", "Mul", "Mul"] or divide.input[0] not in product.input:
            sys.exit(f"quantize_onnx: unknown form of GELU at {erf.name}: {found}")
        gelu = helper.make_node("Gelu", [divide.input[0]], [half.output[0]], domain=MICROSOFT)
        graph.nodes[graph.nodes.index(half)] = gelu
        for node in (divide, erf, add, product):
            graph.nodes.remove(node)


def fold_layer_scale(graph):
    """conv(x) * scale of each channel as one convolution."""
    for node in [n for n in graph.nodes if n.op_type == "Mul"]:
        for scale_name, conv_name in (node.input, node.input[::-1]):
            scale, conv = graph.value(scale_name), graph.maker(conv_name)
            if (scale is None or scale.ndim != 3 or conv is None or conv.op_type != "Conv" or
                    len(graph.users(conv_name)) != 1):
                continue
            names = [conv.input[1] + "/scaled", conv.input[2] + "/scaled"]
            weight, bias = (graph.value(name) for name in conv.input[1:])
            graph.add_weight(names[0], weight * scale.reshape(-1, 1, 1, 1))
            graph.add_weight(names[1], bias * scale.reshape(-1))
            graph.weights.update({w.name: w for w in graph.made[-2:]})
            del graph.made[-2:]
            conv.input[1:], conv.output[0] = names, node.output[0]
            graph.nodes.remove(node)
            break


def is_pointwise(graph, node):
    if node.op_type != "Conv" or "/se/" in node.input[1]:  # that one is a single pixel
        return False
    weight = graph.weights[node.input[1]]
    group = next((a.i for a in node.attribute if a.name == "group"), 1)
    return group == 1 and tuple(weight.dims[2:]) == (1, 1)


def is_product(graph, node):
    return node.op_type == "MatMul" and node.input[1] in graph.weights


def add_ranges(graph):
    """Least and greatest of what each product reads, as outputs NAME#min and NAME#max."""
    names = {n.input[0]: None for n in graph.nodes if is_pointwise(graph, n) or is_product(graph, n)}
    for name in names:
        for kind in ("Min", "Max"):
            output = f"{name}#{kind.lower()}"
            graph.nodes.append(helper.make_node("Reduce" + kind, [name], [output], keepdims=0))
            graph.model.graph.output.append(
                helper.make_tensor_value_info(output, onnx.TensorProto.FLOAT, []))


def quantize_activation(ranges, name):
    """Scale and zero point of u8."""
    least, most = min(ranges[name + "#min"][0], 0.0), max(ranges[name + "#max"][0], 0.0)
    scale = (most - least) / 255 or 1.0
    return np.array(scale, np.float32), np.array(round(-least / scale), np.uint8)


def make_product(graph, x, measured_as, weight, bias, y, ranges):
    """Nodes for y = x weight^T + bias in int8; weight [outputs, inputs], ranges None: dynamic."""
    scale = (np.abs(weight).max(1) / 127).astype(np.float32)
    scale[scale == 0] = 1
    numbers = np.rint(weight / scale[:, None]).clip(-127, 127).astype(np.int8)
    b = graph.add_weight(y + "/b", numbers.T)
    b_scale = graph.add_weight(y + "/b_scale", scale)
    b_zero = graph.add_weight(y + "/b_zero", np.zeros(len(scale), np.int8))
    tail = [] if bias is None else [graph.add_weight(y + "/bias", bias)]
    if ranges is None:
        return [helper.make_node("DynamicQuantizeMatMul", [x, b, b_scale, b_zero] + tail, [y],
                                 domain=MICROSOFT)]
    a_scale, a_zero = quantize_activation(ranges, measured_as)
    a_scale = graph.add_weight(y + "/a_scale", a_scale)
    a_zero = graph.add_weight(y + "/a_zero", a_zero)
    return [helper.make_node("QuantizeLinear", [x, a_scale, a_zero], [y + "/a"]),
            helper.make_node("MatMulIntegerToFloat",
                             [y + "/a", b, a_scale, b_scale, a_zero, b_zero] + tail, [y],
                             domain=MICROSOFT)]


def quantize(graph, ranges):
    nodes = []
    for node in graph.nodes:
        if is_pointwise(graph, node):
            x, y = node.input[0], node.output[0]
            weight, bias = (graph.value(name) for name in node.input[1:])
            nodes.append(helper.make_node("Transpose", [x], [y + "/x"], perm=[0, 2, 3, 1]))
            nodes += make_product(graph, y + "/x", x, weight[:, :, 0, 0], bias, y + "/y", ranges)
            nodes.append(helper.make_node("Transpose", [y + "/y"], [y], perm=[0, 3, 1, 2]))
        elif is_product(graph, node):
            x, y = node.input[0], node.output[0]
            nodes += make_product(graph, x, x, graph.value(node.input[1]).T, None, y, ranges)
        else:
            nodes.append(node)
    graph.nodes = nodes


def main():
    if len(sys.argv) not in (4, 5) or sys.argv[1] not in ("ranges", "static", "dynamic"):
        sys.exit(__doc__)
    mode, source, out = sys.argv[1:4]
    graph = Graph(source)
    fold_gelu(graph)
    fold_layer_scale(graph)
    if mode == "ranges":
        add_ranges(graph)
    elif mode == "static":
        with open(sys.argv[4], encoding="utf-8") as file:
            quantize(graph, json.load(file))
    else:
        quantize(graph, None)
    graph.save(out)


if __name__ == "__main__":
    main()
