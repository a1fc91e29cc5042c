"""The version of a pipeline: a hash of everything that decides its results.

Runs of one pipeline whose versions are equal give the same results for the same video and parameters, in any
process. Processors are not told apart: the 8-bit text models give slightly other confidences on those without
VNNI. The hash covers

- the definition: nodes, edges and the order of the outputs; not its description, not how its file is written;
- the source of the pipeline except for its plugins, and the libraries that it computes with;
- each plugin used: the version in its manifest, the files of its package with the models in it, its
  distribution with all that it requires, and its options. An option that names a file counts as the content
  of the file, so the path does not matter; so do the weights beside an OpenVINO or ONNX model.

Numbers of threads and limits are left out: results do not depend on them. The source counts as a whole,
because a number that people must raise when results change is forgotten once. The price is small: jobs that
run while a changed comment is deployed begin again.
"""
