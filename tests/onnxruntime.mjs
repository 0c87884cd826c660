// examples/hooks/esrgan_trace_onnx.mjs on models, right and broken, against `esrgan compare`.
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnSync } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const build = path.resolve(process.env.BUILD ?? 'build');
const hook = path.join(here, '../examples/hooks/esrgan_trace_onnx.mjs');
const work = fs.mkdtempSync(path.join(os.tmpdir(), 'esrgan-onnx.'));
const at = (name) => path.join(work, name);
let failures = 0;

function check(good, text) {
  console.log(good ? 'ok    ' : 'FAILED', text);
  if (!good) failures++;
}

function run(program, ...words) {
  const done = spawnSync(program, words, { encoding: 'utf8' });
  return { status: done.status, out: done.stdout, err: done.stderr };
}

function must(program, ...words) {
  const done = run(program, ...words);
  if (done.status !== 0) throw new Error(`${program} ${words.join(' ')}: ${done.status}\n${done.err}`);
}

// A smooth picture of odd size with something in it everywhere.
function picture(channels, height, width) {
  const data = new Float32Array(channels * height * width);
  data.forEach((_, i) => { data[i] = 0.5 + 0.4 * Math.sin(0.7 * i) * Math.cos(0.11 * i); });
  const head = `{'descr': '<f4', 'fortran_order': False, 'shape': (1, ${channels}, ${height}, ${width}), }`
    .padEnd(117) + '\n';
  const file = at(`${channels}x${height}x${width}.npy`);
  fs.writeFileSync(file, Buffer.concat([Buffer.from('\x93NUMPY\x01\x00\x76\x00', 'latin1'), Buffer.from(head),
    Buffer.from(data.buffer)]));
  return file;
}

const checkpoint = (name) => path.join(here, 'golden/cases', `${name}.pth`);

// What `esrgan compare` says of ONNX Runtime's trace of a model, against ours.
function compared(model, onnx, input, ...more) {
  const [reference, test] = [at('reference'), at('test')];
  for (const folder of [reference, test]) fs.rmSync(folder, { recursive: true, force: true });
  must(`${build}/esrgan`, 'trace', '-q', model, input, '-o', reference, '-b', 'reference', '-p', 'fp64');
  must(process.execPath, hook, onnx, input, '-o', test, ...more);
  const done = run(`${build}/esrgan`, 'compare', '--json', reference, test, '--model', model);
  return { status: done.status, ...JSON.parse(done.out) };
}

function healthy(name, model, onnx, input, least, ...more) {
  const result = compared(model, onnx, input, ...more);
  const local = result.layers.filter((layer) => 'local_max' in layer).length;
  const known = !result.notes.some((note) => note.includes('unknown'));
  check(result.status === 0 && local >= least && known,
    `${name}: ${local} values recomputed; ${result.verdict} ${result.notes}`);
}

function toOnnx(name) {
  must(`${build}/bench/bench`, 'onnx', checkpoint(name), at(`${name}.onnx`));
  return at(`${name}.onnx`);
}

// Every kind of operation and of network: enlarging by 1 to 8, unshuffling, 1x1 shortcuts, grey.
for (const [name, channels, height, width, least] of [
  ['basicsr-x4', 3, 9, 14, 70], ['x2plus', 3, 10, 14, 35], ['x1', 3, 12, 8, 35], ['grey', 1, 7, 9, 35],
  ['grey-x2plus', 1, 8, 6, 35], ['plus', 3, 7, 9, 35], ['esrgan-8x', 3, 5, 6, 35], ['bsrgan-2x', 3, 9, 8, 35],
]) healthy(name, checkpoint(name), toOnnx(name), picture(channels, height, width), least);
const model = checkpoint('basicsr-x4'), onnx = at('basicsr-x4.onnx'), input = picture(3, 9, 14);
healthy('some layers', model, onnx, input, 8, '--layers', 'input,body.*.rdb1,conv_*');

// A slope of 0.1 where it is 0.2: found at the first activation, and why.
const bytes = fs.readFileSync(onnx);
const slope = Buffer.concat([Buffer.from([0x15]), Buffer.from(new Float32Array([0.2]).buffer), Buffer.from('\n\x05alpha')]);
const wrong = Buffer.from(new Float32Array([0.1]).buffer);
let changed = 0;
for (let i = bytes.indexOf(slope); i >= 0; i = bytes.indexOf(slope, i + 1), changed++) wrong.copy(bytes, i + 1);
fs.writeFileSync(at('slope.onnx'), bytes);
const result = compared(model, at('slope.onnx'), input);
check(changed > 0 && result.status === 1 && result.culprit === 'body.0.rdb1.conv1.act' && result.cause === 'wrong-slope',
  `slope: ${changed} changed; ${result.culprit}, ${result.cause}: ${result.verdict}`);

// What PyTorch's export makes of the same network has names of its own.
const exported = run(process.env.TORCH_PYTHON ?? 'python3', path.join(here, 'export_onnx.py'), at('torch.onnx'));
if (exported.status === 0) healthy('exported by PyTorch', model, at('torch.onnx'), input, 70);
else check(exported.status === 77, `without PyTorch: no model of its export ${exported.err}`);

// Files that are none.
fs.writeFileSync(at('cut.onnx'), fs.readFileSync(onnx).subarray(0, 5000));
for (const [file, said] of [[at('cut.onnx'), 'cut short'], [input, 'no ONNX model'], [at('none.onnx'), 'none.onnx']]) {
  const done = run(process.execPath, hook, file, input, '-o', at('bad'));
  check(done.status === 1 && done.err.includes(said) && !done.err.includes('    at '), done.err.trim());
}
check(run(process.execPath, hook, onnx).status === 2, 'wrong usage');

fs.rmSync(work, { recursive: true });
console.log(failures ? `${failures} failed` : 'all good');
process.exit(failures ? 1 : 0);
