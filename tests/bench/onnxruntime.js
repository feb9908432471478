// One timed run after another of a graph by ONNX Runtime, a line of milliseconds each.
//
//     node onnxruntime.js MODEL.onnx SHAPE THREADS RUNS [RANGES.json]
//
// SHAPE is that of the input "x": 1,3,1024,1024 for an encoder, 1,280,896 for a decoder. The first
// run, which warms up, is not printed. RANGES.json is for quantize_onnx.py: least and greatest of each
// of the graph's other outputs.
//
// Needs the npm package onnxruntime-node.
//
// SPDX-License-Identifier: LGPL-2.1-or-later
const fs = require('fs');
const ort = require('onnxruntime-node');

// A picture of soft waves in 0..1, or for a decoder small values of both signs.
function makeInput(dims) {
    const values = new Float32Array(dims.reduce((a, b) => a * b));
    const side = dims[dims.length - 1];
    for (let i = 0; i < values.length; i++) {
        const x = (i % side) / side, y = Math.floor(i / side) / side;
        values[i] = dims.length === 4
            ? 0.5 + 0.25 * Math.sin(40 * x + 3 * y) + 0.25 * Math.sin(17 * y - 60 * x * y)
            : ((i * 7919) % 997) / 9970 - 0.05;
    }
    return new ort.Tensor('float32', values, dims);
}

async function main() {
    const [model, shape, threads, runs, ranges] = process.argv.slice(2);
    const session = await ort.InferenceSession.create(model, {
        intraOpNumThreads: Number(threads),
        graphOptimizationLevel: 'all',
        logSeverityLevel: 3,
    });
    const feeds = { x: makeInput(shape.split(',').map(Number)) };
    let results = await session.run(feeds);
    for (let run = 0; run < Number(runs); run++) {
        const start = performance.now();
        results = await session.run(feeds);
        console.log((performance.now() - start).toFixed(3));
    }
    if (ranges) {
        const found = Object.entries(results).filter(([name]) => name !== 'y').map(
            ([name, tensor]) => [name, Array.from(tensor.data)]);
        fs.writeFileSync(ranges, JSON.stringify(Object.fromEntries(found)));
    }
}

main();
