"""The version of a pipeline: a hash of everything that determines its results.

Runs of one pipeline with equal versions produce the same results for the same video and parameters, in any
process. Processors are not distinguished: the built-in models compute the same on all that have AVX2. The
hash covers

- the definition: nodes, edges and the order of the outputs; not its description or the layout of its file;
- the source of the pipeline without its plugins, and the libraries that it computes with;
- each plugin that it uses: the version in the manifest, the files of its package including models, its
  distribution with all requirements, and its options. An option that names a file counts as the content of
  the file, so the path does not matter; the weights beside an OpenVINO or ONNX model count too.

Numbers of threads and limits are left out: results do not depend on them. The source counts as a whole,
because people would forget to raise a number whenever results change. The cost is small: jobs that run while
a changed comment is deployed start again.
"""
