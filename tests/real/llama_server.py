"""The server of llama.cpp from the wheel of xllamacpp, by the arguments of `llama-server` that `teacher up` gives."""

import argparse
import signal

import xllamacpp


parser = argparse.ArgumentParser()
parser.add_argument("-m", required=True)
for flag in ("-c", "-np", "-ngl", "--port"):
    parser.add_argument(flag, type=int, required=True)
for flag in ("--alias", "--host"):
    parser.add_argument(flag, required=True)
given = parser.parse_args()

params = xllamacpp.CommonParams()
params.model.path, params.model_alias = given.m, {given.alias}
params.n_ctx, params.n_parallel, params.n_gpu_layers = given.c, given.np, given.ngl
params.hostnames, params.port = [given.host], given.port
params.cpuparams.n_threads = 1
server = xllamacpp.Server(params)
signal.sigwait([signal.SIGTERM, signal.SIGINT])
