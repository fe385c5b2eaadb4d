"""Attacks as submissions of a tiny module whose exercise is `double(x)`: twice a tensor.

Each of REACHING does something that must not be possible and, if it was, goes on to answer rightly: any point that such a
submission earns is a hole. Each of LYING does not do the work and tries to look as if it had. Each of STALLING never ends.
"""

import textwrap

HEAD = "import ctypes, errno, gc, json, os, random, signal, socket, struct, subprocess, sys, threading, time\nimport torch\n\n"


def reaching(body: str) -> str:
    """A submission that answers rightly once `body` has run without an error."""
    return f"{HEAD}def double(x):\n{textwrap.indent(textwrap.dedent(body).strip(), '    ')}\n    return x * 2\n"


def lying(body: str, before: str = "") -> str:
    """A submission whose `double` is `body`; `before` runs when the file is imported."""
    text = textwrap.indent(textwrap.dedent(body).strip(), "    ")
    return f"{HEAD}{textwrap.dedent(before).strip()}\n\n\ndef double(x):\n{text}\n"


def reaching_many(body: str, names: str) -> dict[str, str]:
    return {name: reaching(body.replace("NAME", name)) for name in names.split()}


LIBC = "libc = ctypes.CDLL(None, use_errno=True)\n"

REACHING = {
    **{f"socket_{name}": text for name, text in reaching_many(
        "socket.socket(socket.NAME, socket.SOCK_RAW if 'NAME' in ('AF_PACKET', 'AF_NETLINK') else socket.SOCK_STREAM)",
        "AF_INET AF_INET6 AF_UNIX AF_NETLINK AF_PACKET AF_VSOCK",
    ).items()},
    "socketpair": reaching("socket.socketpair()"),
    "resolve_a_name": reaching("socket.getaddrinfo('localhost', 80)\nsocket.create_connection(('127.0.0.1', 22), 1)"),
    "fork": reaching("if os.fork() == 0: os._exit(0)"),
    "vfork_by_hand": reaching(LIBC + "assert libc.syscall(58) >= 0"),
    "clone3_by_hand": reaching(LIBC + """
args = (ctypes.c_uint64 * 11)(0, 0, 0, 0, 17)
assert libc.syscall(435, args, 88) >= 0
"""),
    "fork_bomb": reaching("for _ in range(200):\n    if os.fork() == 0:\n        while True: os.fork()"),
    "double_fork_survivor": reaching("""
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                time.sleep(300)
            os._exit(0)
    """),
    "thread_bomb": reaching("""
        for _ in range(5000):
            threading.Thread(target=time.sleep, args=(60,), daemon=True).start()
    """),
    "exec": reaching("os.execv('/bin/true', ['true'])"),
    "subprocess": reaching("subprocess.run(['true'], check=True)"),
    "os_system": reaching("assert os.system('true') == 0"),
    "posix_spawn": reaching("os.posix_spawn('/bin/true', ['true'], {})"),
    "memfd_exec": reaching("os.memfd_create('x')"),
    "kill_everything": reaching("os.kill(-1, 9)"),
    "kill_the_parent": reaching("os.kill(os.getppid(), signal.SIGKILL)"),
    "kill_itself_by_tgkill": reaching(LIBC + "assert libc.syscall(234, os.getpid(), os.getpid(), 0) == 0"),
    "leave_the_session": reaching("os.setsid()"),
    "ptrace": reaching(LIBC + "assert libc.syscall(101, 16, os.getppid(), 0, 0) == 0"),
    "read_another_process": reaching(LIBC + """
buffer = ctypes.create_string_buffer(8)
vector = (ctypes.c_uint64 * 2)(ctypes.addressof(buffer), 8)
assert libc.syscall(310, os.getppid(), vector, 1, vector, 1, 0) >= 0
"""),
    "pidfd": reaching("os.pidfd_open(os.getppid())"),
    "io_uring": reaching(LIBC + "params = (ctypes.c_uint8 * 256)()\nassert libc.syscall(425, 8, params) >= 0"),
    "bpf": reaching(LIBC + "assert libc.syscall(321, 0, None, 0) >= 0"),
    "userfaultfd": reaching(LIBC + "assert libc.syscall(323, 0) >= 0"),
    "keyctl": reaching(LIBC + "assert libc.syscall(250, 0, -3, 0) >= 0"),
    "mount": reaching(LIBC + "assert libc.mount(b'none', b'/tmp', b'tmpfs', 0, None) == 0"),
    "unshare": reaching(LIBC + "assert libc.unshare(0x10000000) == 0"),
    "chroot": reaching("os.chroot('.')"),
    "become_root": reaching("os.setresuid(1, 1, 1)\nos.setresuid(0, 0, 0)"),
    "change_the_mode_of_a_file": reaching("open('a', 'w').close()\nos.chmod('a', 0o4755)"),
    "raise_limits": reaching("import resource\nresource.setrlimit(resource.RLIMIT_NOFILE, (50, 50))"),
    "limits_of_another": reaching("import resource\nresource.prlimit(os.getppid(), resource.RLIMIT_NOFILE, (9, 9))"),
    "lower_the_priority_of_others": reaching("os.setpriority(os.PRIO_PROCESS, os.getppid(), 19)"),
    "signals_by_fcntl": reaching("import fcntl\nfcntl.fcntl(3, fcntl.F_SETOWN, os.getppid())"),
    "tiocsti": reaching("import fcntl, termios\nfcntl.ioctl(0, termios.TIOCSTI, b'x')"),
    "new_filter": reaching(LIBC + "assert libc.prctl(22, 2, 0, 0, 0) == 0"),
    **{f"read_{name.replace('/', '_')}": text for name, text in reaching_many(
        "open('/NAME', 'rb').read(1)",
        "etc/passwd etc/shadow proc/self/environ proc/self/maps proc/1/cmdline proc/self/mem proc/self/fd/3 "
        "sys/kernel/mm/ksm/run root/.bashrc home",
    ).items()},
    "list_root": reaching("os.listdir('/')"),
    "list_proc": reaching("os.listdir('/proc')"),
    "list_tmp": reaching("os.listdir('/tmp')"),
    "read_the_grader": reaching("import autograder\nos.listdir(autograder.__path__[0])"),
    "write_tmp": reaching("open('/tmp/llm-course-was-here', 'w').write('x')"),
    "write_beside_the_work_folder": reaching("open('../llm-course-was-here', 'w').write('x')"),
    "write_into_python": reaching("open(os.path.join(os.path.dirname(torch.__file__), 'was_here.py'), 'w').write('x')"),
    "symlink_out": reaching("os.symlink('/etc/passwd', 'out')\nopen('out').read()"),
    "hard_link_out": reaching("os.link(torch.__file__, 'out')"),
    "device": reaching("os.mknod('zero', 0o20666, os.makedev(1, 5))"),
    "fifo": reaching("os.mkfifo('fifo')"),
    "big_file": reaching("open('big', 'wb').write(b'x' * (1 << 27))"),
    "many_files": reaching("for i in range(100_000):\n    open(f'file{i}', 'wb').write(b'x' * 4096)"),
    "much_memory": reaching("keep = torch.ones(1 << 30)"),
    "memory_bit_by_bit": reaching("keep = []\nfor _ in range(3000):\n    keep.append(bytearray(1 << 20))"),
    "memory_by_mmap": reaching("import mmap\nkeep = [mmap.mmap(-1, 1 << 28) for _ in range(64)]"),
    "environment": reaching("assert any('SEED' in key or 'TOKEN' in key or 'VIRTUAL' in key for key in os.environ)"),
    "import_the_solution": reaching("import solutions.tiny"),
    "import_the_suite": reaching("import autograder.suites"),
    "import_grading": reaching("import autograder.grading.suite"),
    "find_the_solution": reaching("""
        for root in [*sys.path, os.getcwd(), '/']:
            for up in ('.', '..', '../..', '../../..', '../../../..', '../../../../..'):
                if os.path.isdir(os.path.join(root, up, 'solutions')) and os.listdir(os.path.join(root, up, 'solutions')):
                    return x * 2
        raise RuntimeError('nothing')
    """),
    "find_the_solution_in_memory": reaching("""
        names = ('solutions', 'suites', 'pytest', '_pytest', 'hypothesis')
        for thing in gc.get_objects():
            if type(thing) is type(sys) and thing.__name__.startswith(names):
                return x * 2
        raise RuntimeError('nothing')
    """),
    "find_expected_values_in_frames": reaching("""
        frame = sys._getframe()
        while frame:
            for value in frame.f_locals.values():
                if isinstance(value, dict) and ('expected' in value or 'grading_seed' in value):
                    return x * 2
            frame = frame.f_back
        raise RuntimeError('nothing')
    """),
    "remember_the_last_test": reaching("""
        if not os.path.exists('seen'):
            open('seen', 'w').close()
            os._exit(0)
    """),
    "receive_a_descriptor": reaching("socket.recv_fds(socket.socket(fileno=3), 1, 1)"),
    "descriptors_left_open": reaching("""
        for number in (*range(4, 256), 1000):
            try:
                os.fstat(number)
            except OSError:
                continue
            return x * 2
        raise RuntimeError('none')
    """),
}  # fmt: skip

REPLY = """
def reply(number, value):
    head = json.dumps(["d", ["id", number], ["value", value], ["changed", ["l"]], ["breaches", ["l"]]]).encode()
    return struct.pack(">II", len(head), 0) + head
"""

LYING = {
    "shuts_its_folders": lying("os.chmod('..', 0)\nos.chmod(os.getcwd(), 0)\nreturn x", "os.chmod('.', 0)"),
    # the compiler writes the innermost block a million times, while all tests wait for it
    "finally_in_finally": lying("return x", "def f():\n" + "".join(
        f"{' ' * i}try: f()\n{' ' * i}finally:\n" for i in range(1, 19)) + " " * 20 + "f(); " * 60),
    "exit_0": lying("os._exit(0)"),
    "exit_0_at_import": lying("return x", "os._exit(0)"),
    "system_exit": lying("raise SystemExit(0)"),
    "system_exit_at_import": lying("return x", "sys.exit(0)"),
    "keyboard_interrupt": lying("raise KeyboardInterrupt"),
    "generator_exit": lying("raise GeneratorExit"),
    "pytest_skip": lying("import pytest\npytest.skip('no')"),
    "pytest_skip_at_import": lying("return x", "import pytest\npytest.skip('no', allow_module_level=True)"),
    "pytest_xfail": lying("import pytest\npytest.xfail('no')"),
    "pytest_exit": lying("import pytest\npytest.exit('done', 0)"),
    "pytest_hooks": lying("return x", "def pytest_runtest_makereport(*a): pass\npytest_plugins = ['os']"),
    "hypothesis_reject": lying("import hypothesis\nhypothesis.reject()"),
    "hypothesis_stop": lying("from hypothesis.errors import StopTest\nraise StopTest(0)"),
    "todo": lying("raise NotImplementedError('TODO: double')"),
    "wrong_error": lying("raise ValueError('x must not be doubled')"),
    "error_with_lying_text": lying("class E(Exception):\n    def __str__(self): os._exit(0)\nraise E"),
    "error_without_end": lying("class E(Exception):\n    def __str__(self): return 'x' * (1 << 28)\nraise E"),
    "error_with_markup": lying("raise RuntimeError('[bold]\\x1b[2J\\x1b]0;title\\x07\\u202e| 100 / 100 | \\ud800')"),
    "exception_group": lying("raise ExceptionGroup('many', [ValueError('a'), KeyError('b')])"),
    "unicode_error": lying("'\\ud800'.encode()"),
    "lying_equality": lying("return Same()", """
        class Same:
            __eq__ = __lt__ = __gt__ = __le__ = __ge__ = __contains__ = lambda self, other: True
            __hash__ = lambda self: 0
            shape = (); dtype = torch.float64
            def __getattr__(self, name): return self
            def __call__(self, *a, **k): return self
        """),
    "lying_tensor": lying("return x.as_subclass(Lying)", """
        class Lying(torch.Tensor):
            @classmethod
            def __torch_function__(cls, func, types, args=(), kwargs=None): return True
        """),
    "lying_float": lying("return F(1)", "class F(float):\n    __eq__ = lambda self, other: True\n    __hash__ = float.__hash__"),
    "lying_type": lying("return T()", "class T:\n    __class__ = torch.Tensor"),
    "nan": lying("return x * float('nan')"),
    "meta": lying("return torch.empty_like(x, device='meta')"),
    "sparse": lying("return (x * 2).to_sparse()"),
    "nested": lying("return torch.nested.nested_tensor([x, x])"),
    "huge_expanded": lying("return x.new_ones(()).expand(1 << 20, 1 << 20)"),
    "huge_number": lying("return 10 ** 4000"),
    "deep_list": lying("deep = []\nfor _ in range(100_000): deep = [deep]\nreturn deep"),
    "own_list": lying("own = []\nown.append(own)\nreturn own"),
    "long_list": lying("return list(range(10_000_000))"),
    "generator": lying("return (y for y in x)"),
    "a_module": lying("return torch"),
    "patched_torch": lying("return x", """
        torch.equal = torch.allclose = torch.isclose = lambda *a, **k: True
        torch.Tensor.__eq__ = torch.Tensor.__ne__ = lambda a, b: True
        torch.testing.assert_close = lambda *a, **k: None
        """),
    "patched_numpy": lying("return x", "import numpy as np\nnp.allclose = np.array_equal = lambda *a, **k: True"),
    "patched_time": lying("return x", "time.monotonic = time.time = time.perf_counter = lambda: 0.0"),
    "patched_json": lying("return x", "json.dumps = lambda *a, **k: '[]'"),
    "patched_server": lying("return x", """
        import autograder.worker.server as server
        server._call = lambda module, request, audit: (request['args'][0] * 0, [])
        """),
    "patched_builtins": lying("return x", "import builtins\nbuiltins.isinstance = lambda *a: True\nbuiltins.len = lambda *a: 0"),
    "forged_replies": lying("for number in range(1000): os.write(3, reply(number, True))\nreturn x", REPLY),
    "forged_before_the_call": lying("return x", REPLY + "\nfor number in range(100): os.write(3, reply(number, True))"),
    "forged_by_a_thread": lying("return x", REPLY + """
def forge():
    for number in range(100_000): os.write(3, reply(number % 50, True))
threading.Thread(target=forge, daemon=True).start()
"""),
    "forged_score": lying("os.write(3, b'{\"score\": 100, \"outcome\": \"passed\"}' * 100)\nos._exit(0)"),
    "garbage": lying("os.write(3, bytes(range(256)) * 64)\nos._exit(0)"),
    "half_a_frame": lying("os.write(3, struct.pack('>II', 1000, 0) + b'[')\nos._exit(0)"),
    "huge_header": lying("os.write(3, b'\\xff' * 8)\nos._exit(0)"),
    "announced_and_not_sent": lying("os.write(3, struct.pack('>II', 4 << 20, 250 << 20))\ntime.sleep(60)"),
    "read_the_channel": lying("os.read(3, 1 << 20)\nos.read(3, 1)"),
    "closed_channel": lying("os.close(3)\nreturn x"),
    "replaced_channel": lying("os.dup2(os.open('/dev/null', os.O_RDWR), 3)\nreturn x"),
    "last_answer_replayed": lying("double.kept = getattr(double, 'kept', x)\nreturn double.kept"),
    "constant": lying("return torch.tensor([2.0, 4.0], dtype=torch.float64)"),
    "random": lying("return torch.rand_like(x)"),
    "atexit": lying("return x", "import atexit\natexit.register(os._exit, 0)"),
    "finaliser": lying("return Last()", "class Last:\n    def __del__(self): os._exit(0)"),
    "trace": lying("return x", "sys.settrace(lambda *a: os._exit(0))"),
    "signal_handlers": lying("os.abort()", """
        for n in range(1, 65):
            try: signal.signal(n, signal.SIG_IGN)
            except (OSError, ValueError): pass
        """),
    "segmentation_fault": lying("ctypes.string_at(0)"),
    "deep_recursion": lying("sys.setrecursionlimit(10**9)\nreturn double(x)"),
    "deep_c_recursion": lying("sys.setrecursionlimit(10**9)\nf = lambda: [*map(lambda _: f(), [0])]\nf()"),
    "syntax_bomb": lying("return eval('(' * 90 + ')' * 90) if x is None else eval('-' * 1_000_000 + '1')"),
    "output_flood": lying("for _ in range(200): os.write(1, b'x' * (1 << 20)); os.write(2, b'y' * (1 << 20))\nreturn x"),
    "print_passed": lying("print('1 passed in 0.01s')\nreturn x"),
    "error_whose_text_never_ends": lying("class E(Exception):\n    def __str__(self):\n        while True: pass\nraise E"),
    "error_with_lying_bases": lying("raise E", """
        class Meta(type):
            def mro(cls): return [cls, Exception, BaseException, object]
            @property
            def __mro__(cls): raise KeyboardInterrupt
        class E(Exception, metaclass=Meta): pass
        """),
    "error_called_todo": lying("raise type('NotImplementedError', (Exception,), {'__module__': 'builtins'})('TODO: double')"),
    "error_of_many": lying("raise ExceptionGroup('x', [ValueError(str(i)) for i in range(100_000)])"),
    "number_with_a_conversion": lying("class I(int):\n    def __int__(self): os._exit(0)\nreturn I(1)"),
    "list_without_end": lying("class L(list):\n    def __iter__(self):\n        while True: yield 1\nreturn L([1])"),
    "dict_of_many": lying("return dict.fromkeys(range(100_000), 1.0)"),
    "freed_storage": lying("y = x.clone()\ny.untyped_storage().resize_(0)\nreturn y"),
    "foreign_memory": lying("return torch.frombuffer((ctypes.c_char * 8).from_address(16), dtype=torch.float64)"),
    "escaped_from_vmap": lying("kept = []\ntorch.vmap(lambda a: kept.append(a) or a)(x)\nreturn kept[0]"),
    "changed_by_a_thread": lying("""
        y = x.clone()
        threading.Thread(target=lambda: [y.mul_(1.0) for _ in range(10**6)], daemon=True).start()
        return y
        """),
    "audit_hook": lying("return x", "sys.addaudithook(lambda *a: os._exit(0))"),
    "fault_handler_on_the_channel": lying("return x", """
        import faulthandler
        faulthandler.dump_traceback_later(0.01, repeat=True, file=3)
        time.sleep(0.1)
        """),
    "ready_twice": lying("return x", "os.write(3, struct.pack('>II', 18, 0) + b'[\"d\",[\"ready\",true]]'[:18])"),
    "number_of_many_digits": lying("os.write(3, struct.pack('>II', 200_001, 0) + b'1' * 200_001)\nos._exit(0)"),
    "no_modules_left": lying("return x", "for name in list(sys.modules): del sys.modules[name]"),
    "default_device": lying("return x", "torch.set_default_device('meta')\ntorch.set_default_dtype(torch.float16)"),
    "no_such_function": HEAD + "def triple(x):\n    return x * 3\n",
    "not_a_function": HEAD + "double = 2\n",
    "empty_module": "# nothing here\n",
    "raises_at_import": HEAD + "raise RuntimeError('no')\n",
    "todo_at_import": HEAD + "raise NotImplementedError('TODO: double')\n",
    "replaces_itself": HEAD + "sys.modules[__name__] = None\n\n\ndef double(x):\n    return x\n",
    "module_getattr": HEAD + "def __getattr__(name):\n    return lambda *a: True\n",
}

STALLING = {
    "endless_loop": lying("while True: pass"),
    "endless_loop_at_import": lying("return x", "while True: pass"),
    "sleep": lying("time.sleep(3600)"),
    "sleep_ignoring_signals": lying("time.sleep(3600)", "for n in (2, 15, 14, 24): signal.signal(n, signal.SIG_IGN)"),
    "wait_for_itself": lying("lock = threading.Lock()\nlock.acquire()\nlock.acquire()"),
    "trickle": lying("os.write(3, struct.pack('>II', 4000, 0))\nwhile True:\n    os.write(3, b' ')\n    time.sleep(0.05)"),
    "flood_the_channel": lying("while True: os.write(3, b'\\x00\\x00\\x00\\x08\\x00\\x00\\x00\\x00\"forged\"')"),
    "regular_expression": lying("import re\nre.match('(a+)+$', 'a' * 64 + 'b')"),
    "big_power": lying("return (10 ** 10) ** (10 ** 10)"),
    "blocked_in_c": lying("return torch.linalg.matrix_power(torch.ones(2000, 2000), 1 << 40)"),
}

# Right answers by a call that the exercise forbids, out of sight of whoever reads the source.
LDEXP = "getattr(torch, 'pxedl'[::-1])(x, torch.ones_like(x))"
NUMPYS = "torch.from_numpy(np.asarray(getattr(np, 'pxedl'[::-1])(x.numpy(), 1)))"
NUMPY = "import numpy as np\n"

FORBIDDEN = {
    "by_a_computed_name": lying(f"return {LDEXP}"),
    "by_evaluation": lying("return eval('torch.' + 'pxedl'[::-1])(x, torch.ones_like(x))"),
    "by_an_operator": lying("return getattr(torch.ops.aten, 'pxedl'[::-1])(x, torch.ones_like(x))"),
    "by_a_trace": lying("return traced(x, torch.ones_like(x))", """
        hidden = getattr(torch, 'pxedl'[::-1])
        traced = torch.jit.trace(lambda a, b: hidden(a, b), (torch.ones(2), torch.ones(2)))
        """),
    "in_a_thread": lying(f"""
        kept = []
        thread = threading.Thread(target=lambda: kept.append({LDEXP}))
        thread.start(); thread.join()
        return kept[0]
        """),
    "with_the_modes_off": lying(f"""
        from torch.utils._python_dispatch import _disable_current_modes
        with _disable_current_modes(), torch._C.DisableTorchFunction():
            return {LDEXP}
        """),
    "where_it_is_not_trivial": lying(f"return x + x if x.numel() < 2 else {LDEXP}"),
    "from_the_second_call_on": lying(f"""
        double.calls = getattr(double, 'calls', 0) + 1
        return x + x if double.calls < 2 else {LDEXP}
        """),
    "after_emptying_the_rules": lying(f"""
        frame = sys._getframe()
        while frame:
            audit = frame.f_locals.get('audit')
            if audit is not None: audit._functions.clear(); audit._operators.clear()
            frame = frame.f_back
        return {LDEXP}
        """),
    "by_numpy": lying(f"return {NUMPYS}", NUMPY),
    "by_numpys_own_c_function": lying(f"return {NUMPYS.replace('(np,', '(np._core._multiarray_umath,')}", NUMPY),
    "by_what_numpy_calls_for_it": lying(
        "return torch.from_numpy(np.vectorize(getattr(np, 'pxedl'[::-1]), otypes='d')(x.numpy(), 1)).to(x.dtype)", NUMPY),
    "by_numpy_in_a_thread": lying(f"""
        from concurrent.futures import ThreadPoolExecutor
        with ThreadPoolExecutor(1) as pool: return pool.submit(lambda: {NUMPYS}).result()
        """, NUMPY),
    "from_a_file_of_another_name": lying(f"return {LDEXP}", """
        import gc
        class Rename:
            def __del__(self): double.__code__ = double.__code__.replace(co_filename='/another')
        rename = Rename()
        """).rstrip() + "\n\n\ndel rename\n",
    "from_what_seems_numpys_file": lying("return torch.from_numpy(np.asarray(scope['twice'](x.numpy())))", NUMPY + """
scope = {'np': np}
exec(compile("def twice(x): return np." + 'pxedl'[::-1] + "(x, 1)", np.__file__, 'exec'), scope)
"""),
    "after_putting_numpy_back": lying(f"return {NUMPYS}", NUMPY + """
noting = getattr(np, 'pxedl'[::-1])
(real,) = (cell.cell_contents for cell in noting.__closure__ if isinstance(cell.cell_contents, np.ufunc))
setattr(np, 'pxedl'[::-1], real)
"""),
    "with_frames_of_its_own": lying(f"return {NUMPYS}", NUMPY + """
def keep(value):
    global frame
    frame = sys._getframe(1)
    return value
np.vectorize(keep)(1)
sys._getframe = lambda depth=0: frame
"""),
    "by_looking_at_frames": lying("sys._getframe(1).f_locals\nreturn x + x"),
    "by_inspecting_frames": lying("import inspect\ninspect.currentframe().f_back.f_locals\nreturn x + x"),
    "by_a_traceback": lying("""
        try:
            1 / 0
        except ZeroDivisionError as error:
            error.__traceback__.tb_frame.f_back.f_locals
        return x + x
        """),
    "by_the_garbage_collector": lying("import gc\ngc.get_objects()\nreturn x + x"),
    "by_native_code": lying("libm = ctypes.CDLL(None)\nreturn x + x"),
    "by_an_import_of_a_computed_name": lying("import importlib\nimportlib.import_module('bilhparg'[::-1])\nreturn x + x"),
    "by_an_import_in_a_text": lying("exec('bilhparg tropmi'[::-1])\nreturn x + x"),
    "by_an_import_before_any_call": lying("return x + x", "exec('bilhparg tropmi'[::-1])"),
    "by_running_a_module": lying("import runpy\nrunpy.run_module('bilhparg'[::-1])\nreturn x + x"),
    "by_a_module_s_specification": lying("""
        import importlib.util
        spec = importlib.util.find_spec('bilhparg'[::-1])
        spec.loader.exec_module(importlib.util.module_from_spec(spec))
        return x + x
        """),
    "after_putting_the_loader_back": lying("""
        from importlib.machinery import SourceFileLoader
        source = SourceFileLoader.__mro__[2]
        source.get_code = source.get_code.__closure__[0].cell_contents
        return x + x
        """),
    "in_a_thread_from_before_any_call": lying("""
        asked.append(x)
        while not answered: time.sleep(0.001)
        return answered.pop()
        """, f"""
        asked, answered = [], []
        def serve():
            while True:
                while not asked: time.sleep(0.001)
                x = asked.pop()
                answered.append({LDEXP})
        threading.Thread(target=serve, daemon=True).start()
        """),
    "by_an_operator_as_torch_ops_has_it": lying("return getattr(torch.ops.aten, 'pxedl'[::-1])(x, torch.ones_like(x))"),
    "by_one_overload_of_it":
        lying("return getattr(getattr(torch.ops.aten, 'pxedl'[::-1]), 'rosneT'[::-1])(x, torch.ones_like(x))"),
    "by_an_operator_as_c_has_it":
        lying("return getattr(torch._C, 'noitarepo_teg_tij_'[::-1])('aten::' + 'pxedl'[::-1])[0](x, torch.ones_like(x))"),
    "by_asking_for_the_watch": lying("""
        import torch.utils._python_dispatch as dispatch
        getattr(dispatch, 'edom_hctapsid_tnerruc_teg_'[::-1])()
        return x + x
        """),
    "after_patching_the_audit": lying(f"import autograder.worker.audit as a\na.Audit._note = lambda *k: None\nreturn {LDEXP}"),
}
