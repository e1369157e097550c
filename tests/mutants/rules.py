"""The rules that keep people safe: the text that holds each of them, and what is there without it.

Each is taken out in turn, and one of `tests` has to fail then; they need no server. A text that is no
longer there, or more than once, is an error: so the table stays true when the code changes.
"""

from __future__ import annotations

from dataclasses import dataclass

_LOWERED = ("tests/core/test_lowered.py",)
_RESTORING = ("tests/loop/test_restoring.py",)
_ORDER = ("tests/loop/test_order.py",)
_BORROWED = ("tests/core/test_borrowed.py",)
_BOOST = ("tests/loop/test_boost.py",)
_PREFLIGHT = ("tests/core/test_preflight.py",)
_ADOPT = ("tests/core/test_adopt.py",)
_MOVING = ("tests/rebalance/test_move.py",)
_PACE = ("tests/core/test_pace.py",)
_WATCHING = ("tests/rebalance/test_watching.py",)


@dataclass(frozen=True)
class Rule:
    """A rule: in `module`, `text` holds it; with `without` in its place it does not hold."""

    name: str
    module: str
    text: str
    without: str
    tests: tuple[str, ...]


RULES = (
    # Giving back.
    Rule(
        "calm is waited for while timers are low",
        "loop/restore",
        "while self._owed() and not self._calm() and now() - start < calm:",
        "while False:",
        _RESTORING,
    ),
    Rule(
        "calm is waited for no longer than asked",
        "loop/restore",
        "not self._calm() and now() - start < calm:",
        "not self._calm():",
        _RESTORING,
    ),
    Rule(
        "a silent node is no calm",
        "loop/restore",
        "return not self._silent and all(state.calm for",
        "return all(state.calm for",
        _RESTORING,
    ),
    Rule(
        "what CLUSTER INFO does not say is no calm",
        "loop/restore",
        'calm = "cluster_state" in fields and all(',
        "calm = all(",
        _RESTORING,
    ),
    Rule(
        "timeouts before elections",
        "loop/restore",
        "await self._restore(self._names, timeout_to_restore)",
        "pass",
        _RESTORING,
    ),
    Rule(
        "the first step restores the timeout alone",
        "core/timers",
        'return {TIMEOUT: own[TIMEOUT]} if now.get(NO_FAILOVER) == "yes" else restored(now)',
        "return restored(now)",
        _LOWERED,
    ),
    Rule(
        "the replica of a failing primary waits",
        "loop/restore",
        "and not (state.me.replica and state.me.primary in failing)",
        "",
        _RESTORING,
    ),
    Rule(
        "a primary that only one node suspects is failing",
        "loop/restore",
        '_FAILING = frozenset({"fail", "fail?"})',
        '_FAILING = frozenset({"fail"})',
        _RESTORING,
    ),
    Rule(
        "a node without a view waits",
        "loop/restore",
        "if state.me is not None and not (",
        "if state.me is None or not (",
        _RESTORING,
    ),
    Rule(
        "the replica of a dead primary is released after twice the timeout",
        "loop/restore",
        "free = self._names if now() >= over else self._unthreatened()",
        "free = self._unthreatened()",
        _RESTORING,
    ),
    Rule(
        "and not before",
        "loop/restore",
        "over = over or now() + 2 * self._longest() + 1.0",
        "over = over or now() + self._longest()",
        _RESTORING,
    ),
    Rule(
        "a node that falls silent is asked anew before anything is set",
        "loop/restore",
        "self._states.pop(name, None)",
        "pass",
        _RESTORING,
    ),
    # The mark.
    Rule(
        "a mark alone is not ours",
        "core/timers",
        'if now.get(NO_FAILOVER) != "yes" and not _low(now.get(TIMEOUT, "")):\n        return None\n',
        "",
        _LOWERED,
    ),
    Rule(
        "elections off and a timeout like ours are not ours without a mark",
        "core/timers",
        "if not 0 <= value < _TIMEOUTS * _DELAYS * _BARRIERS * _BITS:\n        return None\n",
        "value = max(0, value)\n",
        _LOWERED,
    ),
    Rule(
        "a timeout that was set by hand stays",
        "core/timers",
        'TIMEOUT: _low(now.get(TIMEOUT, "")) or now.get(TIMEOUT) == own[TIMEOUT],',
        "TIMEOUT: True,",
        _LOWERED,
    ),
    Rule(
        "any other value that was set by hand stays",
        "core/timers",
        "**{key: now.get(key) == _LOW[key] for key in (DELAY, LOAD, NO_FAILOVER)},",
        "**{key: True for key in (DELAY, LOAD, NO_FAILOVER)},",
        _LOWERED,
    ),
    Rule(
        "a timeout that was set by hand stays in the first step as well",
        "core/timers",
        'if own is None or not _low(now.get(TIMEOUT, "")) or now[TIMEOUT] == own[TIMEOUT]:',
        "if own is None or now[TIMEOUT] == own[TIMEOUT]:",
        _LOWERED,
    ),
    Rule(
        "the last step has the timeout in it, since another run may lower it at that moment",
        "core/timers",
        'TIMEOUT: _low(now.get(TIMEOUT, "")) or now.get(TIMEOUT) == own[TIMEOUT],',
        'TIMEOUT: _low(now.get(TIMEOUT, "")),',
        _LOWERED,
    ),
    Rule(
        "elections are off with every low timeout",
        "core/timers",
        "low = {key: _LOW[key] for key in (NO_FAILOVER, DELAY, LOAD) if key in own}",
        "low = {key: _LOW[key] for key in (DELAY, LOAD) if key in own}",
        _LOWERED,
    ),
    Rule(
        "the mark is set with every low timeout",
        "core/timers",
        "return {BARRIER: marked, **low, TIMEOUT:",
        "return {**low, TIMEOUT:",
        _LOWERED,
    ),
    Rule(
        "mark and flag before the timeout, where a server takes them one by one",
        "core/timers",
        "return {BARRIER: marked, **low, TIMEOUT: str(min(timeout, number(own[TIMEOUT])))}",
        "return {TIMEOUT: str(min(timeout, number(own[TIMEOUT]))), BARRIER: marked, **low}",
        _LOWERED,
    ),
    Rule(
        "the timeout before flag and mark on the way back, where a server takes them one by one",
        "core/timers",
        "        BARRIER: True,\n    }\n    return {key: own[key] for key, is_ours in back.items()",
        "        BARRIER: True,\n    }\n    return {key: own[key] for key, is_ours in [*back.items()][::-1]",
        _LOWERED,
    ),
    Rule(
        "nothing is lowered that the mark cannot keep",
        "core/timers",
        "if too_large(own) is not None or TIMEOUT not in own or BARRIER not in own:",
        "if TIMEOUT not in own or BARRIER not in own:",
        _LOWERED,
    ),
    Rule(
        "a timeout is never raised by the boost",
        "core/timers",
        "TIMEOUT: str(min(timeout, number(own[TIMEOUT])))}",
        "TIMEOUT: str(timeout)}",
        _LOWERED,
    ),
    Rule(
        "elections that the user has switched off are not switched on",
        "core/timers",
        'if config.get(NO_FAILOVER) == "no":\n        own',
        "if True:\n        own",
        _LOWERED,
    ),
    # What is held on nodes that serve.
    Rule(
        "a mark of a held node alone is not ours",
        "core/borrowed",
        "    if not any(now.get(key) == _HELD[key][1] for key in own):\n        return None\n",
        "",
        _BORROWED,
    ),
    Rule(
        "no other number is such a mark",
        "core/borrowed",
        "    if not 0 <= value < _BARRIERS * _BITS:\n        return None\n",
        "    value = max(0, value)\n",
        _BORROWED,
    ),
    Rule(
        "what the user has switched off is not held",
        "core/borrowed",
        "if wanted[key] and before.get(key) == value}",
        "if wanted[key]}",
        _BORROWED,
    ),
    Rule(
        "what another run holds stays owed",
        "core/borrowed",
        "{NO_FAILOVER: elections or NO_FAILOVER in held, MIGRATION: migration or MIGRATION in held}",
        "{NO_FAILOVER: elections, MIGRATION: migration}",
        _BORROWED,
    ),
    Rule(
        "timers that were left lowered come back before their mark goes",
        "core/borrowed",
        "wanted = {**restored(now), BARRIER: marked,",
        "wanted = {BARRIER: marked,",
        _BORROWED,
    ),
    Rule(
        "elections that are held wait for the sync",
        "loop/restore",
        "return [name for name in self._names if name not in unsynced]",
        "return self._names",
        _RESTORING,
    ),
    # Setting.
    Rule(
        "an old server that takes a part only gets it back as it was",
        "loop/configure",
        "        if took:\n",
        "        if False:\n",
        _RESTORING + _ORDER,
    ),
    Rule(
        "what was set is read back, whatever the replies said",
        "loop/configure",
        "        wrong = next((key for key, value in settings.items() if now.get(key) != value), None)\n",
        "        wrong = next((k for k in settings for r in replies if isinstance(r, Rejected)), None)\n",
        _RESTORING + _BOOST,
    ),
    Rule(
        "MULTI and EXEC around single settings",
        "loop/configure",
        'return (("MULTI",), *commands, ("EXEC",))',
        "return tuple(commands)",
        _ORDER,
    ),
    # The boost.
    Rule(
        "the helper is there before anything is lowered",
        "loop/boost",
        "await self._helper.start()\n        except OSError as failed:\n            self._lowering.reason",
        "pass\n        except OSError as failed:\n            self._lowering.reason",
        _ORDER,
    ),
    Rule(
        "without a helper that starts there is no boost",
        "loop/boost",
        '{failed.strerror or failed}"\n            return max(view.node_timeout for view in views.values())',
        '{failed.strerror or failed}"',
        _ORDER,
    ),
    Rule(
        "the helper is dismissed only when nothing is left",
        "loop/boost",
        "elif self._helper is not None and not (self._lowering.own or self._holding.own):",
        "elif self._helper is not None:",
        _BOOST,
    ),
    Rule(
        "what is lowered is owed before it is sent, since the reply may be lost",
        "loop/lower",
        "            self.own[view.name] = own\n            current, refused = await self._configure.put("
        "view.name, wanted)\n",
        "            current, refused = await self._configure.put(view.name, wanted)\n"
        "            self.own[view.name] = own\n",
        _BOOST,
    ),
    Rule(
        "own values are read anew before they are lowered",
        "loop/lower",
        "own = timers.own_values(view, current)",
        "own = timers.own_values(view, view.config)",
        _BOOST,
    ),
    Rule(
        "a node that another run has restored is not lowered again",
        "loop/lower",
        "if kept(current) is None or current[TIMEOUT] != str(min(expected, number(own[TIMEOUT]))):\n",
        "if False:\n",
        _BOOST,
    ),
    Rule(
        "a cancelled run restores",
        "loop/ending",
        "boost.restore_within_grace() if owed else asyncio.sleep(0)",
        "asyncio.sleep(0)",
        _ORDER,
    ),
    Rule(
        "what is left lowered is said, whatever ended the run",
        "loop/boost",
        "        self.warnings.append(replace(self.left, exit=Exit.DONE))\n",
        "",
        _ORDER,
    ),
    Rule(
        "no boost beside nodes that serve or hold keys",
        "core/timers",
        "    if serving:\n        return f",
        "    if False:\n        return f",
        _LOWERED,
    ),
    Rule(
        "no boost where elections cannot be switched off",
        "core/timers",
        "if replicas and NO_FAILOVER not in config:",
        "if False:",
        _LOWERED,
    ),
    # Nothing is sent before everything is known.
    Rule(
        "nothing is sent before what forbids it is looked for",
        "loop/run",
        "    if problems:\n        raise from_problems(problems)\n    open_slots",
        "    open_slots",
        _ORDER,
    ),
    Rule(
        "nothing is sent before permissions are known",
        "bootstrap",
        "problems += await forbidden(run.fleet, [(step.node, command(step, views)) for step in single])",
        "pass",
        _ORDER,
    ),
    Rule(
        "nothing is sent before it is known that no keys are stranded",
        "bootstrap",
        "problems = await stranded(run.fleet, missing.steps, views)",
        "problems = []",
        _ORDER,
    ),
    Rule(
        "a refusal comes before the boost",
        "bootstrap",
        "            if problems:\n                raise from_problems(problems)\n"
        "            if asked.dry_run:",
        "            await form(run, goal, boost)\n            if problems:\n"
        "                raise from_problems(problems)\n            if asked.dry_run:",
        _ORDER,
    ),
    Rule(
        "nothing is sent where a node is away",
        "loop/run",
        'if any(problem.code != "loading" for problem in observed.away.values()):\n        raise',
        "if False:\n        raise",
        _ORDER,
    ),
    Rule(
        "a refusal restores what a killed run has left",
        "loop/ending",
        "    boost.notice(run.views)\n",
        "",
        _ORDER,
    ),
    Rule(
        "a dry run sends nothing",
        "bootstrap",
        "                await measure_moves(run, goal)\n                return dry(run, goal)\n",
        "                pass\n",
        _ORDER,
    ),
    Rule(
        "a dry run does not even restore",
        "loop/ending",
        "owed = boost.owes and not run.asked.dry_run",
        "owed = boost.owes",
        _ORDER,
    ),
    Rule(
        "a refusal by a node ends the run",
        "loop/act",
        "        if final:\n            raise NodeFailed(*final)\n",
        "",
        _ORDER,
    ),
    # What forbids a change.
    Rule("strangers", "core/preflight", "        *_strangers(views, away),\n", "", _PREFLIGHT),
    Rule("one server twice", "core/preflight", "        *_one_server_twice(views),\n", "", _PREFLIGHT),
    Rule("one id twice", "core/preflight", "        *_one_id_twice(views),\n", "", _PREFLIGHT),
    Rule("old servers and bus ports", "core/preflight", "        *_old(topology, views),\n", "", _PREFLIGHT),
    Rule(
        "contradicting addresses",
        "core/preflight",
        "        *contradictions(topology, views),\n",
        "",
        ("tests/core/test_views.py", *_PREFLIGHT),
    ),
    Rule(
        "no password for a primary",
        "core/preflight",
        "return (*locked, *cannot_follow",
        "return (*(), *cannot_follow",
        _PREFLIGHT,
    ),
    Rule(
        "versions that cannot replicate",
        "core/preflight",
        "return (*locked, *cannot_follow(target.primary_of, views))",
        "return (*locked,)",
        _PREFLIGHT,
    ),
    Rule(
        "two clusters",
        "core/adopt",
        "refusals = [*_split_ownership(topology, views, fresh)]",
        "refusals: list[Problem] = []",
        _ADOPT,
    ),
    Rule("keys without slots", "core/adopt", " *_keys_without_slots(views),", "", _ADOPT),
    Rule("a reshard under way", "core/adopt", " *_resharding(views, target),", "", _ADOPT),
    Rule("slots that others hold", "core/adopt", " *_held(views, target)]", "]", _ADOPT),
    Rule("replicas without a primary", "core/adopt", "refusals += [*lost, ", "refusals += [", _ADOPT),
    Rule(
        "too many members that leave at once, or too few replicas afterwards",
        "core/adopt",
        "        refusals += rebalance_refusals(topology, pins, to_be, views) if later else ()\n",
        "        pass\n",
        ("tests/core/test_stages.py",),
    ),
    # Ready.
    Rule(
        "a large cluster is Ready by one snapshot of all nodes only",
        "loop/follow",
        "        verdict = replace(verdict, ready=False)\n",
        "        pass\n",
        _ORDER,
    ),
    Rule(
        "a node that is away is not Ready",
        "core/health",
        "mesh = not away and len(nodes) == len(self.ids)",
        "mesh = len(nodes) == len(self.ids)",
        ("tests/core/test_health.py",),
    ),
    # Moving slots.
    Rule(
        "the source counts no keys before the owner changes",
        "rebalance/copying",
        "if not left:",
        "if True:",
        _MOVING,
    ),
    Rule(
        "the target takes the slots first",
        "rebalance/copying",
        "        await set_slots(self._fleet, self._target.name, self._slots, *to, at_once=_MAX_TAKEN)\n",
        "        await set_slots(self._fleet, self._source.name, self._slots, *to)\n"
        "        await set_slots(self._fleet, self._target.name, self._slots, *to, at_once=_MAX_TAKEN)\n",
        _MOVING,
    ),
    Rule(
        "the target imports before the source sends clients there",
        "rebalance/copying",
        'await set_slots(fleet, target.name, slots, "IMPORTING", source.id)',
        "pass",
        _MOVING,
    ),
    Rule(
        "the first window to a target is alone",
        "rebalance/move",
        "async with self._locks[target.id]:",
        "if True:",
        _MOVING,
    ),
    Rule(
        "replicas have a window before the next one",
        "rebalance/move",
        "pace.lagged(await caught_up(self._fleet, target, replicas_of(target, views)))",
        "pass",
        _MOVING,
    ),
    Rule(
        "only a key that this run sent is replaced",
        "rebalance/copying",
        "replaces = (database, key) in self._sent",
        "replaces = True",
        _MOVING,
    ),
    Rule(
        "or one with the same value",
        "rebalance/copying",
        "if not await same_value(self._fleet, self._source, self._target, database, key):",
        "if False:",
        _MOVING,
    ),
    Rule(
        "keys that a client may have deleted in vain are named",
        "rebalance/copying",
        "self.unanswered |= dict.fromkeys(sent)",
        "pass",
        _MOVING,
    ),
    Rule(
        "an open window is finished when a move is cancelled",
        "rebalance/move",
        "            await _finished(tasks)\n",
        "            list(map(asyncio.Task.cancel, tasks))\n            await asyncio.wait(tasks)\n",
        _MOVING,
    ),
    Rule(
        "and no other one is begun",
        "rebalance/move",
        "            self._ending = True\n            await",
        "            await",
        _MOVING,
    ),
    Rule(
        "a node never sends and takes by jobs at the same time",
        "rebalance/move",
        "not (self._takes[source] or self._sends[target])",
        "not self._takes[source]",
        _MOVING,
    ),
    Rule(
        "nor takes while it sends",
        "rebalance/move",
        "not (self._takes[source] or self._sends[target])",
        "not self._sends[target]",
        _MOVING,
    ),
    Rule(
        "clients hear of a new node by MOVED before ASK",
        "core/pace",
        "min(self.slots, served // self._SHARE)",
        "self.slots",
        _PACE,
    ),
    Rule(
        "marks that change are somebody else's",
        "rebalance/open_slots",
        "if sent or opened(before, views) or",
        "if sent or",
        _WATCHING,
    ),
    Rule(
        "and so are MIGRATEs that run",
        "rebalance/open_slots",
        "if sent or opened(",
        "if opened(",
        _WATCHING,
    ),
    # down --reset
    Rule(
        "no reset of nodes that know strangers",
        "loop/reset",
        'problems = [each for each in preflight.refusals(topology, views) if each.code == "stranger"]',
        "problems: list[Problem] = []",
        _ORDER,
    ),
    Rule(
        "no reset of nodes with keys",
        "loop/reset",
        "    if not flush:\n        problems += [",
        "    if False:\n        problems += [",
        _ORDER,
    ),
    Rule(
        "no reset of some nodes where one is away",
        "loop/reset",
        "            if observed.away:\n                raise NodeFailed(*observed.away.values())\n",
        "",
        _ORDER,
    ),
    Rule(
        "no reset before permissions are known",
        "loop/reset",
        "problems = await forbidden(fleet, wanted)",
        "pass",
        _ORDER,
    ),
)
