! Does with the database what a solver does, and checks what it gets. test_solvers.py says what it must find there
! and looks at what it leaves. Argument: a TorchScript file that doubles its input.

program solver
  use, intrinsic :: iso_c_binding, only: c_bool
  use, intrinsic :: iso_fortran_env, only: int8, int16, int32, int64, real32, real64
  use, intrinsic :: ieee_arithmetic, only: ieee_quiet_nan, ieee_value
  use penstock
  implicit none

  type(penstock_client) :: client
  integer, parameter :: nx = 3, ny = 4
  real(real64) :: pattern(nx, ny)
  character(len=500) :: text
  integer :: i, j, stat

  pattern = reshape([((10*(i - 1) + (j - 1), i = 1, nx), j = 1, ny)], [nx, ny])
  call without_connection()
  call client%connect()
  call client%set_identity(producer="solver_fortran", rank=2)
  call expect(client%producer() == "solver_fortran" .and. client%rank() == 2, "the identity")
  call every_type()
  call sections_and_orders()
  call ranks()
  call allocatables()
  call snapshots()
  call bounds()
  call models()
  call flags_and_waits()
  call errors()
  call queue()
  call client%close()
  call expect(.not. client%is_connected(), "closed")
  print "(a)", "everything was as it must be"

contains

  subroutine expect(true, what)
    logical, intent(in) :: true
    character(len=*), intent(in) :: what
    if (.not. true) error stop "not as expected: " // what // " " // trim(text)
  end subroutine

  subroutine without_connection()
    call client%put_tensor("u", pattern, stat=stat, errmsg=text)
    call expect(stat == penstock_not_connected, "no connection")
    call client%connect("unix:///there/is/none", timeout=0.05_real64, stat=stat, errmsg=text)
    call expect(stat == penstock_unavailable .and. index(text, "/there/is/none") > 0, "no database")
  end subroutine

  ! SmartRedis has put "plain.<dtype>"; each comes back as "own.<dtype>".
  subroutine every_type()
    real(real64) :: r8(nx, ny)
    real(real32) :: r4(nx, ny)
    integer(int8) :: i1(nx, ny)
    integer(int16) :: i2(nx, ny)
    integer(int32) :: i4(nx, ny)
    integer(int64) :: i8(nx, ny)
    complex(real64) :: c8(nx, ny), c8_back(nx, ny)
    complex(real32) :: c4(nx, ny), c4_back(nx, ny)
    logical(c_bool) :: l(nx, ny), l_back(nx, ny)
    call client%get_tensor("plain.float64", r8)
    call expect(all(r8 == pattern), "real64")
    call client%put_tensor("own.float64", r8)
    call client%get_tensor("plain.float32", r4)
    call expect(all(r4 == pattern), "real32")
    call client%put_tensor("own.float32", r4)
    call client%get_tensor("plain.int8", i1)
    call expect(all(i1 == int(pattern)), "int8")
    call client%put_tensor("own.int8", i1)
    call client%get_tensor("plain.int16", i2)
    call expect(all(i2 == int(pattern)), "int16")
    call client%put_tensor("own.int16", i2)
    call client%get_tensor("plain.int32", i4)
    call expect(all(i4 == int(pattern)), "int32")
    call client%put_tensor("own.int32", i4)
    call client%get_tensor("plain.int64", i8)
    call expect(all(i8 == int(pattern)), "int64")
    call client%put_tensor("own.int64", i8)
    c8 = cmplx(pattern, -pattern, real64)
    call client%put_tensor("own.complex128", c8)
    call client%get_tensor("own.complex128", c8_back)
    call expect(all(c8 == c8_back), "complex of real64")
    c4 = cmplx(pattern, -pattern, real32)
    call client%put_tensor("own.complex64", c4)
    call client%get_tensor("own.complex64", c4_back)
    call expect(all(c4 == c4_back), "complex of real32")
    l = pattern > 11
    call client%put_tensor("own.bool", l)
    call client%get_tensor("own.bool", l_back)
    call expect(all(logical(l .eqv. l_back)), "logical")
  end subroutine

  subroutine sections_and_orders()
    real(real64), target :: u(6, 8), back(6, 8), turned(ny, nx)
    real(real64), pointer :: view(:, :)
    integer(int64), allocatable :: dims(:)
    character(len=:), allocatable :: dtype
    u = reshape([((100*i + j, i = 1, 6), j = 1, 8)], [6, 8])
    call client%put_tensor("section", u(2:6:2, 8:1:-3))
    back = 0
    call client%get_tensor("section", back(2:6:2, 8:1:-3))
    call expect(all(back(2:6:2, 8:1:-3) == u(2:6:2, 8:1:-3)) .and. sum(back) == sum(u(2:6:2, 8:1:-3)), "section")
    view => u(6:1:-1, :)
    call client%put_tensor("pointer", view)
    call client%put_tensor("expression", 2*u)
    call client%put_tensor("as_it_lies", pattern, reversed=.true.)
    call client%get_tensor("as_it_lies", turned)
    call expect(all(turned == transpose(pattern)), "reversed")
    call client%tensor_shape("as_it_lies", dims, dtype=dtype)
    call expect(all(dims == [ny, nx]) .and. dtype == "float64", "shape")
    call client%tensor_shape("as_it_lies", dims, reversed=.true.)
    call expect(all(dims == [nx, ny]), "shape, reversed")
    call client%delete_tensor("as_it_lies")
    call expect(.not. client%tensor_exists("as_it_lies") .and. client%tensor_exists("section"), "deletion")
  end subroutine

  subroutine ranks()
    integer(int32) :: number, back, a1(2), a4(2, 3, 2, 2), a7(2, 1, 3, 1, 2, 1, 2), back4(2, 3, 2, 2), back7(2, 1, 3, 1, 2, 1, 2)
    integer :: k
    number = 42
    call client%put_tensor("number", number)
    call client%get_tensor("number", back)
    call client%get_tensor("number", a1(1:1))
    call expect(back == 42 .and. a1(1) == 42, "a single number")
    a4 = reshape([(k, k = 1, 24)], shape(a4))
    call client%put_tensor("rank4", a4)
    call client%get_tensor("rank4", back4)
    a7 = reshape([(k, k = 1, 24)], shape(a7))
    call client%put_tensor("rank7", a7)
    call client%get_tensor("rank7", back7)
    call expect(all(a4 == back4) .and. all(a7 == back7), "ranks 4 and 7")
  end subroutine

  subroutine allocatables()
    real(real64), allocatable :: fresh(:, :)
    integer(int8), allocatable :: small(:, :)
    real(real64), allocatable :: line(:)
    call client%put_tensor("none", fresh, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "not allocated") > 0, "not allocated")
    call client%get_tensor_new("plain.float64", fresh)
    call expect(all(shape(fresh) == [nx, ny]) .and. all(fresh == pattern), "allocated")
    call client%get_tensor_new("plain.float64", fresh, reversed=.true.)
    call expect(all(shape(fresh) == [ny, nx]) .and. all(fresh == transpose(pattern)), "again")
    call client%get_tensor_new("plain.int8", small)
    call expect(all(small == int(pattern)), "of another type")
    call client%get_tensor_new("plain.float64", line, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "rank 2") > 0, "of another rank")
    call client%get_tensor_new("plain.int8", fresh, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "int8") > 0, "for another type")
  end subroutine

  subroutine snapshots()
    integer :: step
    do step = 0, 10, 10
      call client%put_snapshot(step, "u", pattern + step, "p", real(pattern, real32), time=0.5_real64*step)
    end do
    call client%put_snapshot(20, "u", pattern + 20, "p", real(pattern, real32), async=.true.)
    call client%flush(10.0_real64)
    call expect(client%announced() == 3, "announced")
    call client%put_snapshot(20, "u", pattern, "p", real(pattern, real32), stat=stat, errmsg=text)
    call expect(stat == penstock_snapshot .and. index(text, "20") > 0, "the step before")
    call client%put_snapshot(30, "u", pattern, stat=stat, errmsg=text)
    call expect(stat == penstock_snapshot .and. index(text, "p") > 0, "a field is missing")
    call client%put_snapshot(30, "u", pattern, "p", stat=stat, errmsg=text)
    call expect(stat == penstock_invalid .and. index(text, "belong together") > 0, "a name alone")
    call of_the_second()
    call expect(.not. client%stream_ended("solver_fortran", 2), "has ended too early")
    call client%end_stream()
    call expect(client%stream_ended("solver_fortran", 2), "has ended")
  end subroutine

  subroutine of_the_second()
    real(real64) :: u(nx, ny), wide(2*nx, ny), turned(ny, nx), time
    real(real32) :: p(nx, ny), q(ny)
    character(len=:), allocatable :: producer
    integer :: rank, step
    call client%get_snapshot(1, "u", u, "p", p, producer=producer, rank=rank, step=step, time=time)
    call expect(producer == "solver_fortran" .and. rank == 2 .and. step == 10 .and. time == 5, "whose it is")
    call expect(all(u == pattern + 10) .and. all(p == real(pattern, real32)), "its fields")
    wide = 0
    call client%get_snapshot(1, "u", wide(1::2, :))
    call expect(all(wide(1::2, :) == u) .and. sum(wide) == sum(u), "into a section")
    call client%get_snapshot(0, "u", turned, reversed=.true.)
    call expect(all(turned == transpose(pattern)), "as it lies")
    call client%get_snapshot(2, "u", u, time=time)
    call expect(all(u == pattern + 20) .and. time /= time, "without a time")
    call client%get_snapshot(1, "q", q, stat=stat, errmsg=text)
    call expect(stat == penstock_snapshot .and. index(text, "q") > 0, "no such field")
    call client%get_snapshot(1, "p", q, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "'p'") > 0, "a field of another shape")
    call blocks()
    call client%get_snapshot(7, "u", u, stat=stat, errmsg=text)
    call expect(stat == penstock_key_missing, "no such snapshot")
  end subroutine

  subroutine bounds()
    integer(int64) :: items, skipped, acknowledged
    real(real64) :: level
    call client%bound_stream(stream="few", stat=stat, errmsg=text)
    call expect(stat == penstock_refused .and. index(text, "ITEMS, BYTES or both") > 0, "no bound")
    call client%bound_stream(items=2, policy=penstock_drop_newest, stream="few")
    call expect(client%subscribe("reader", stream="few") == 0, "a new consumer")
    do i = 0, 2
      call client%put_snapshot(100 + i, "u", pattern, stream="few")
      call expect(client%last_outcome() == merge(penstock_stored, penstock_skipped, i < 2), "the outcome")
    end do
    call client%stream_fill(level=level, skipped=skipped, acknowledged=acknowledged, stream="few")
    call expect(level >= 1 .and. skipped == 1 .and. acknowledged == 0, "the fill")
    call client%acknowledge(1, "reader", stream="few")
    call client%stream_fill(items=items, stream="few")
    call expect(items == 1, "the fill after an acknowledgement")
    call client%get_snapshot(0, "u", pattern, stream="few", stat=stat, errmsg=text)
    call expect(stat == penstock_dropped .and. index(text, "drop_newest") > 0, "a dropped snapshot")
    call client%unsubscribe("reader", stream="few")
    call client%bound_stream(bytes=100_int64, wait=0.02_real64, stream="full")
    call client%put_snapshot(200, "u", pattern(1:1, :), stream="full")
    call client%put_snapshot(201, "u", pattern(1:1, :), stream="full")
    call client%put_snapshot(202, "u", pattern(1:1, :), stream="full")
    call client%put_snapshot(203, "u", pattern(1:1, :), stream="full", stat=stat, errmsg=text)
    call expect(stat == penstock_stream_full .and. index(text, "nobody has subscribed") > 0, "a full stream")
  end subroutine

  subroutine blocks()
    integer(int64), allocatable :: shape(:), whole(:), offset(:)
    character(len=:), allocatable :: units, dims, dtype
    logical :: turned
    integer :: i
    do i = 0, 1
      turned = i == 1
      call client%describe_field("T", units="K", dims="x y", shape=[2*nx, ny], offset=[nx, 0], stream="blocks", &
                                 reversed=turned)
      call client%put_snapshot(100, "T", pattern, stream="blocks", reversed=turned)
      call client%put_snapshot(101, "T", real(pattern, real32), stream="blocks", reversed=turned, stat=stat, errmsg=text)
      call expect(stat == penstock_snapshot .and. index(text, "in blocks, K, dims") > 0, "the contract is kept")
      call client%field_info(0, "T", shape, dtype, units, dims, whole, offset, stream="blocks", reversed=turned)
      call expect(all(shape == [nx, ny]) .and. all(whole == [2*nx, ny]) .and. all(offset == [nx, 0]), "its block")
      call expect(units == "K" .and. dims == "x y" .and. dtype == "float64", "units and dimensions")
      call client%forget_stream("blocks")
    end do
    call expect(client%announced("blocks") == 0 .and. client%contract("blocks") == "", "a stream was forgotten")
    call expect(index(client%contract(), "since solver_fortran.2.0" // new_line("a") // "p: float32 (3, 4)") == 1, &
                "the contract")
    call client%field_info(0, "u", units=units, dims=dims, offset=offset)
    call expect(units // dims == "" .and. size(offset) == 0, "nothing is known")
    call client%field_info(0, "q", shape, stat=stat, errmsg=text)
    call expect(stat == penstock_snapshot .and. index(text, "'q'") > 0, "no such field to be described")
    call client%describe_field("T", shape=[1, 2], stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "together") > 0, "half a block")
    call client%describe_field("T", dims="x", shape=[1, 2], offset=[0, 0], stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "each dimension") > 0, "dims without a number")
  end subroutine

  subroutine models()
    character(len=1000) :: path
    real(real32) :: x(nx, ny), y(nx, ny)
    integer(int8), allocatable :: archive(:), again(:)
    character(len=60) :: about = '{"loss": 0.5, "steps": 40}'
    integer :: version
    call get_command_argument(1, path)
    x = real(pattern, real32)
    call client%infer("twice", x, y, stat=stat, errmsg=text)
    call expect(stat == penstock_model_missing .and. index(text, "twice") > 0, "no model")
    call client%put_model_file("twice", trim(path) // ".gone", 1, stat=stat, errmsg=text)
    call expect(stat /= 0 .and. index(text, ".gone") > 0, "no file")
    call client%put_model_file("twice", path, 1)
    call client%wait_model("twice", 10.0_real64, version=version)
    call expect(version == 1 .and. client%model_version("twice") == 1, "version")
    call client%put_model_file("twice", path, 2, about=about, promote=.false.)
    call expect(client%model_version("twice") == 1, "a version that is only stored")
    call client%infer_versioned("twice", x, y, version)
    call expect(version == 1 .and. all(y == 2*x), "the version that has answered")
    call client%promote_model("twice", 2)
    call client%infer_versioned("twice", x, y, version, reversed=.true.)
    call expect(version == 2 .and. all(y == 2*x), "the next version")
    call client%report_error("twice", ieee_value(1.0_real64, ieee_quiet_nan), version)
    call client%promote_model("twice", 1)
    call client%report_error("twice", 0.25_real64, 1)
    call client%infer_versioned("none", x, y, version, stat=stat, errmsg=text)
    call expect(stat == penstock_model_missing .and. version == 0, "no model of this name")
    call client%put_model_file("twice", path, 3, about="loss", stat=stat, errmsg=text)
    call expect(stat == penstock_model_rejected .and. index(text, "an object in JSON") > 0, "not JSON")
    call client%promote_model("twice", 7, stat=stat, errmsg=text)
    call expect(stat == penstock_model_missing, "a version that is not there")
    call client%get_model("twice", archive)
    call client%put_model("thrice", archive, 1)
    call client%get_model("thrice", again, version=1)
    call expect(size(again) > 100 .and. all(again == archive), "the archive of a model")
    call client%get_model("thrice", again, version=2, stat=stat, errmsg=text)
    call expect(stat == penstock_model_missing .and. index(text, "version 2") > 0, "no such version")
    call client%infer("twice", x, y)
    call expect(all(y == 2*x), "inference")
    call client%infer("twice", x(:, ny:1:-1), y, version=1)
    call expect(all(y == 2*x(:, ny:1:-1)), "inference of a section")
    call client%infer("twice", x, y, reversed=.true.)
    call expect(all(y == 2*x), "inference, reversed")
    call client%infer("twice", x, y(1:2, :), stat=stat, errmsg=text)
    call expect(stat == penstock_tensor, "an output of another shape")
  end subroutine

  subroutine flags_and_waits()
    integer :: found
    call expect(.not. client%flag_raised("fortran.ready"), "flag")
    call client%raise_flag("fortran.ready")
    call client%wait_flag("fortran.ready", 10.0_real64)
    call expect(client%flag_raised("fortran.ready"), "raised flag")
    call client%wait_tensor("plain.int8", 10.0_real64)
    call client%wait_list("snapshots", 3, 10.0_real64, found=found)
    call expect(found == 3, "length of a list")
    call client%wait_tensor("never", 0.02_real64, stat=stat, errmsg=text)
    call expect(stat == penstock_timed_out .and. index(text, "never") > 0, "waiting")
    call expect(.not. client%stop_requested(), "stop")
    call client%request_stop()
    call expect(client%stop_requested(), "requested stop")
  end subroutine

  subroutine errors()
    real(real64) :: small(2, 2)
    type :: particle
      integer :: number
    end type
    type(particle) :: particles(2)
    particles%number = 0
    call client%get_tensor("gone", small, stat=stat, errmsg=text)
    call expect(stat == penstock_key_missing .and. index(text, "gone") > 0, "no tensor")
    call client%get_tensor("plain.float64", small, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "(3, 4)") > 0, "another shape")
    call client%get_tensor("plain.int8", pattern, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "int8") > 0, "another type")
    call client%put_tensor("not a name", small, stat=stat, errmsg=text)
    call expect(stat == penstock_name .and. index(text, "not a name") > 0, "a bad name")
    call client%put_tensor("particles", particles, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "type") > 0, "a type of the program's")
    call client%set_timeout(-1.0_real64, stat=stat, errmsg=text)
    call expect(stat == penstock_invalid, "a time-out below zero")
    call of_assumed_size(small)
    call client%put_tensor("small", small(:, 1), stat=stat)
    call expect(stat == penstock_ok, "after errors")
  end subroutine

  subroutine of_assumed_size(a)
    real(real64), intent(in) :: a(2, *)
    call client%put_tensor("a", a, stat=stat, errmsg=text)
    call expect(stat == penstock_tensor .and. index(text, "assumed-size") > 0, "assumed size")
  end subroutine

  subroutine queue()
    real(real64) :: u(nx, ny)
    call client%set_queue(1000000_int64)
    u = pattern
    call client%put_tensor("queued", u, async=.true.)
    u = 0
    call client%flush(10.0_real64)
    call client%get_tensor("queued", u)
    call expect(all(u == pattern), "queue")
  end subroutine
end program
