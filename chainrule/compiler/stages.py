"""Looking at a program: every stage as text, and what it costs."""

from __future__ import annotations

from ..backends.native.jit import assembly
from ..errors import ArgumentError, did_you_mean
from ..execution.executable import Executable
from ..execution.stepwise import Stepwise
from ..graph.graph import Graph
from ..graph.text import format_graph
from ..passes.pipeline import describe_stages
from ..passes.text import format_plan
from .programs import Program

STAGES = ("graph", "passes", "plan", "llvm", "asm")


def format_stage(program: Program, graph: Graph, stage: str) -> str:
    """Return one stage of a program as text.

    ``"graph"``: as recorded, with the user's lines; ``"passes"``: after each pass; ``"plan"``: buffers and kernels;
    ``"llvm"``: the module; ``"asm"``: machine code. Errors: `ArgumentError` for another name.
    """
    if stage not in STAGES:
        known = ", ".join(STAGES)
        raise ArgumentError(f"unknown stage {stage!r}{did_you_mean(stage, STAGES)}; expected one of {known}")
    if stage == "graph":
        return format_graph(graph, sites=True)
    if stage == "passes":
        texts = describe_stages(program.graph, program.output_strides)
        return "\n".join(f"== {name} ==\n{text}" for name, text in texts.items())
    if isinstance(program, Stepwise):
        program = program.compiled()
    if not isinstance(program, Executable):
        raise ArgumentError(f"stage {stage!r} exists on the native backend only")
    plan, native = program.stages
    if stage == "plan":
        return format_plan(plan)
    return native.text if stage == "llvm" else assembly(native.text, program.target)


def explain_program(program: Program) -> str:
    """Return a summary: vertices, kernels, working memory, floating point operations and bytes."""
    order = program.graph.order()
    flops = sum(vertex.primitive.cost(vertex.type, *(operand.type for operand in vertex.inputs)) for vertex in order)
    lines = [f"graph: {len(order)} vertices, {flops:,} floating point operations"]
    if isinstance(program, Stepwise):
        lines.append("program: vertex by vertex until it has run often, for other lengths of its loops were met before")
    if isinstance(program, Executable):
        plan, native = program.stages
        moved = sum(buffer.nbytes for buffer in plan.buffers if buffer.role != "temporary")
        lines.append(
            f"program: {len(plan.kernels)} kernels, {plan.arena_bytes:,} bytes of temporaries, "
            f"{moved:,} bytes of inputs and outputs, "
            f"{'several threads' if native.is_parallel else 'one thread'}"
        )
        lines += [f"  {kernel.name}" for kernel in plan.kernels]
    return "\n".join(lines)
