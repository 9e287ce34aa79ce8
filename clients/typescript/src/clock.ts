let ahead = 0;
const startWall = Date.now();
const startSteady = performance.now();

/**
 * Milliseconds since some moment. The steady clock stands still on some systems while the machine sleeps, the wall
 * clock doesn't; whichever has gone further is believed. A wall clock that is set forward ends locks early, which is
 * the safe side.
 */
export function clock(): number {
  const steady = performance.now() - startSteady;
  ahead = Math.max(ahead, Date.now() - startWall - steady);
  return steady + ahead;
}

/** A timer that keeps no process alive. */
export function idly(act: () => void, time: number): ReturnType<typeof setTimeout> {
  const timer = setTimeout(act, time);
  (timer as { unref?: () => void }).unref?.();
  return timer;
}
