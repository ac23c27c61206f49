! simulate.py in Fortran: the same plates, the same numbers to rounding. Compiled by run.py where
! solver = "fortran".

module plates
  use, intrinsic :: iso_fortran_env, only: int64, real64
  implicit none
  private
  public :: plate, seed_with, draw_diffusivity, draw_waves, draw_source, advance

  type :: plate
    integer :: points, jump_steps
    real(real64) :: jump_time, least_diffusivity, greatest_diffusivity
  end type

  real(real64), parameter :: pi = acos(-1.0_real64)
  integer, parameter :: warm_up = 32, highest_wave = 4
  integer(int64) :: state = 1

contains

  ! ---- Random numbers, as Draws of heat.py

  function next_state() result(bits)
    integer(int64) :: bits
    state = ieor(state, ishft(state, 13))
    state = ieor(state, ishft(state, -7))
    state = ieor(state, ishft(state, 17))
    bits = state
  end function

  subroutine seed_with(seed, wave)
    integer, intent(in) :: seed, wave
    integer(int64) :: bits
    integer :: i
    state = ishft(int(seed, int64), 32) + wave + 1
    do i = 1, warm_up
      bits = next_state()
    end do
  end subroutine

  function uniform(least, greatest) result(number)
    real(real64), intent(in) :: least, greatest
    real(real64) :: number
    number = least + (greatest - least)*(real(ishft(next_state(), -11), real64)*2.0_real64**(-53))
  end function

  function normal() result(number)
    real(real64) :: number
    number = sqrt(-2*log(1 - uniform(0.0_real64, 1.0_real64)))
    number = number*cos(2*pi*uniform(0.0_real64, 1.0_real64))
  end function

  ! ---- The plate

  function draw_diffusivity(on) result(diffusivity)
    type(plate), intent(in) :: on
    real(real64) :: diffusivity
    diffusivity = uniform(on%least_diffusivity, on%greatest_diffusivity)
  end function

  function positions(n) result(x)
    integer, intent(in) :: n
    real(real64) :: x(n)
    integer :: i
    x = [(real(i, real64)/n, i = 0, n - 1)]
  end function

  ! A smooth field without a mean, of unit standard deviation.
  subroutine draw_waves(u)
    real(real64), intent(out) :: u(:, :)
    real(real64) :: x(size(u, 1)), phase, amplitude
    integer :: kx, ky, j
    x = positions(size(x))
    u = 0
    do kx = 0, highest_wave
      do ky = -highest_wave, highest_wave
        if (kx == 0 .and. ky == 0) cycle
        phase = uniform(0.0_real64, 1.0_real64)
        amplitude = normal()/(1 + kx**2 + ky**2)
        do j = 1, size(u, 2)
          u(:, j) = u(:, j) + amplitude*cos(2*pi*(kx*x + ky*x(j) + phase))
        end do
      end do
    end do
    u = u - sum(u)/size(u)
    u = u/sqrt(sum(u**2)/size(u))
  end subroutine

  ! The nearest way round a periodic unit.
  elemental function nearest_way(distance) result(signed)
    real(real64), intent(in) :: distance
    real(real64) :: signed
    signed = modulo(distance + 0.5_real64, 1.0_real64) - 0.5_real64
  end function

  ! Two to four heaters and coolers that together add no heat, K/s.
  subroutine draw_source(source)
    real(real64), intent(out) :: source(:, :)
    real(real64) :: x(size(source, 1)), x0, y0, width, power
    integer :: heater, heaters, j
    x = positions(size(x))
    source = 0
    heaters = int(uniform(2.0_real64, 5.0_real64))
    do heater = 1, heaters
      x0 = uniform(0.0_real64, 1.0_real64)
      y0 = uniform(0.0_real64, 1.0_real64)
      width = uniform(0.06_real64, 0.12_real64)
      power = merge(-1, 1, uniform(0.0_real64, 1.0_real64) < 0.5_real64)
      power = power*uniform(1.0_real64, 2.0_real64)
      do j = 1, size(source, 2)
        source(:, j) = source(:, j) &
          + power*exp(-(nearest_way(x - x0)**2 + nearest_way(x(j) - y0)**2)/(2*width**2))
      end do
    end do
    source = source - sum(source)/size(source)
  end subroutine

  ! Advance u by one jump, K.
  subroutine advance(u, source, diffusivity, on)
    real(real64), intent(inout) :: u(:, :)
    real(real64), intent(in) :: source(:, :), diffusivity
    type(plate), intent(in) :: on
    real(real64) :: padded(0:on%points + 1, 0:on%points + 1), dt, number
    integer :: i, j, step, n
    n = on%points
    dt = on%jump_time/on%jump_steps
    number = diffusivity*dt*n**2
    do step = 1, on%jump_steps
      padded(1:n, 1:n) = u
      padded(0, :) = padded(n, :)
      padded(n + 1, :) = padded(1, :)
      padded(:, 0) = padded(:, n)
      padded(:, n + 1) = padded(:, 1)
      do j = 1, n
        do i = 1, n
          u(i, j) = (1 - 4*number)*padded(i, j) + dt*source(i, j) + number &
            *(padded(i - 1, j) + padded(i + 1, j) + padded(i, j - 1) + padded(i, j + 1))
        end do
      end do
    end do
  end subroutine
end module

program simulate
  use, intrinsic :: iso_c_binding, only: c_int, c_long
  use, intrinsic :: iso_fortran_env, only: real32, real64
  use penstock
  use plates
  implicit none

  interface
    function nice(increment) bind(c) result(niceness)
      import :: c_int
      integer(c_int), value :: increment
      integer(c_int) :: niceness
    end function
    function unix_time(unused) bind(c, name="time") result(seconds)
      import :: c_long
      integer(c_long), intent(in), optional :: unused
      integer(c_long) :: seconds
    end function
  end interface

  integer(c_int), parameter :: niceness = 10
  type(penstock_client) :: client
  type(plate) :: on
  integer :: seed, waves, wave_jumps, wave

  on = plate(points=nint(option("points")), jump_steps=nint(option("jump_steps")), &
             jump_time=option("jump_time"), least_diffusivity=option("least_diffusivity"), &
             greatest_diffusivity=option("greatest_diffusivity"))
  seed = nint(option("seed"))
  waves = nint(option("waves"))
  wave_jumps = nint(option("wave_jumps"))
  if (nice(niceness) == -1) error stop "simulate.f90: it cannot be made nice"

  call client%connect()
  call client%describe_field("u", units="K")
  call client%describe_field("source", units="K s-1")
  call client%describe_field("diffusivity", units="m2 s-1")
  do wave = 0, waves - 1
    if (client%stop_requested()) exit
    call simulate_wave(wave, wave_jumps)
  end do
  call client%end_stream()
  call client%close()
  call write_report(snapshots=wave*(wave_jumps + 1))

contains

  ! Simulate a new plate over some jumps; steps leave a gap between waves, so that no pair spans two.
  subroutine simulate_wave(wave, jumps)
    integer, intent(in) :: wave, jumps
    real(real64) :: u(on%points, on%points), source(on%points, on%points), diffusivity
    integer :: first, jump
    first = wave*(jumps + 2)
    call seed_with(seed, wave)
    diffusivity = draw_diffusivity(on)
    call draw_waves(u)
    do jump = first, first + jumps
      call draw_source(source)
      call client%put_snapshot(jump*on%jump_steps, "u", real(u, real32), "source", real(source, real32), &
                               "diffusivity", real(diffusivity, real32), time=jump*on%jump_time)
      call advance(u, source, diffusivity, on)
    end do
  end subroutine

  ! --name=value of the command line.
  function option(name) result(value)
    character(len=*), intent(in) :: name
    real(real64) :: value
    character(len=200) :: argument
    integer :: i, status
    do i = 1, command_argument_count()
      call get_command_argument(i, argument)
      if (index(argument, "--" // name // "=") /= 1) cycle
      read(argument(len(name) + 4:), *, iostat=status) value
      if (status /= 0) error stop "simulate.f90: not a number: " // trim(argument)
      return
    end do
    error stop "simulate.f90: --" // name // "=NUMBER is missing"
  end function

  subroutine write_report(snapshots)
    integer, intent(in) :: snapshots
    integer :: unit
    open(newunit=unit, file="report.json", action="write", status="replace")
    write(unit, "(a, i0, a, i0, a)") '{"ended": ', unix_time(), ', "snapshots": ', snapshots, "}"
    close(unit)
  end subroutine
end program
